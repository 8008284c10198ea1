/** Plays two runs on one clock: a scrubber over their steps, and a play button. */
import { element } from '../dom.ts';
import { Lane } from './lane.ts';
import { type Clock, hasClock, type Moment, momentsOf, type Recording, textAfter } from './recording.ts';

/** Every run is played in about this time. */
const PLAY_MS = 2600;
const MIN_FRAME_MS = 70;
const MAX_FRAME_MS = 420;

const RACE_HINT = 'Press “Race” to decode from the same prefix, left to right.';

export class Player {
  readonly #lanes = [
    new Lane('Diffusion', 'All slots at once, with both sides of the cursor in view; surest first.'),
    new Lane('Autoregressive', 'The same weights, one token after the other, from the left side alone.'),
  ];
  readonly #range = element('input', { type: 'range', id: 'scrubber', min: 0, max: 0, value: 0 });
  readonly #where = element('output', { for: 'scrubber', id: 'scrubber-text' });
  readonly #play = element('button', { type: 'button', class: 'icon-button', id: 'play' }, '▶');
  readonly #clock = element(
    'select',
    { id: 'clock' },
    element('option', { value: 'passes' }, 'passes of the network'),
    element('option', { value: 'cpu' }, 'processor time'),
  );
  #recordings: (Recording | undefined)[] = [undefined, undefined];
  #moments: Moment[] = [];
  #timer: number | undefined;

  constructor(lanes: HTMLElement, controls: HTMLElement) {
    lanes.append(...this.#lanes.map(({ root }) => root));
    controls.append(
      this.#play,
      element('label', { for: 'scrubber', class: 'hidden' }, 'Step'),
      this.#range,
      this.#where,
      element('label', { for: 'clock', class: 'clock-label' }, 'Clock'),
      this.#clock,
    );
    this.#range.addEventListener('input', () => {
      this.#pause();
      this.#showMoment();
    });
    this.#play.addEventListener('click', () => (this.#timer === undefined ? this.play() : this.#pause()));
    this.#clock.addEventListener('change', () => this.#lay(Number.POSITIVE_INFINITY));
    this.#setPlaying(false);
    this.#lay(0);
  }

  /** Sets a diffusion run, with or without an autoregressive one, and shows its end. */
  set(diffusion: Recording | undefined, autoregressive?: Recording): void {
    this.#pause();
    this.#recordings = [diffusion, autoregressive];
    this.#lay(Number.POSITIVE_INFINITY);
  }

  /** Plays from the start; with reduced motion it shows the end. */
  play(): void {
    this.#pause();
    const last = this.#moments.length - 1;
    if (last < 1) return;
    const isStill = window.matchMedia('(prefers-reduced-motion: reduce)').matches;
    if (isStill) {
      this.#go(last);
      return;
    }
    const frameMs = Math.min(MAX_FRAME_MS, Math.max(MIN_FRAME_MS, PLAY_MS / last));
    this.#go(0);
    this.#setPlaying(true);
    this.#timer = window.setInterval(() => {
      const next = Number(this.#range.value) + 1;
      this.#go(next);
      if (next >= last) this.#pause();
    }, frameMs);
  }

  #pause(): void {
    window.clearInterval(this.#timer);
    this.#timer = undefined;
    this.#setPlaying(false);
  }

  #setPlaying(playing: boolean): void {
    this.#play.textContent = playing ? '❚❚' : '▶';
    this.#play.setAttribute('aria-label', playing ? 'Pause' : 'Play the steps');
  }

  #lay(position: number): void {
    const present = this.#recordings.filter((recording) => recording !== undefined);
    const known = hasClock(present);
    this.#clock.disabled = !known;
    this.#moments = momentsOf(present, known ? (this.#clock.value as Clock) : 'passes');
    this.#range.max = String(this.#moments.length - 1);
    this.#range.disabled = this.#moments.length < 2;
    this.#play.disabled = this.#range.disabled;
    this.#go(Math.min(position, this.#moments.length - 1));
  }

  #go(position: number): void {
    this.#range.value = String(position);
    this.#showMoment();
  }

  #showMoment(): void {
    const moment = this.#moments[Number(this.#range.value)];
    let present = 0;
    for (const [index, lane] of this.#lanes.entries()) {
      const recording = this.#recordings[index];
      const count = recording === undefined ? 0 : (moment?.counts[present++] ?? 0);
      lane.show(recording, count, index === 0 ? 'Nothing yet: write something above.' : RACE_HINT);
    }
    const first = this.#recordings[0];
    const at = moment?.at ?? 0;
    const last = this.#moments.at(-1)?.at ?? 0;
    const inTime = this.#clock.value === 'cpu' && !this.#clock.disabled;
    const text = inTime ? `${at.toFixed(1)} of ${last.toFixed(1)} ms` : `pass ${at} of ${last}`;
    this.#where.textContent = text;
    const said = first && moment ? textAfter(first, moment.counts[0]!) : '';
    this.#range.setAttribute('aria-valuetext', `${text}${said === '' ? '' : `: ${said}`}`);
  }
}
