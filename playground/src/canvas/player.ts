/** Plays two runs on one clock: a scrubber over their steps, and a play button. */
import { element } from '../dom.ts';
import { milliseconds } from '../figures.ts';
import { Lane, type Scene } from './lane.ts';
import { type Clock, captionAfter, hasClock, type Moment, momentsOf, type Recording } from './recording.ts';

/** Every run is played in about this time: long enough to read what a pass does, short enough to wait for. */
const PLAY_MS = 6000;
const MIN_FRAME_MS = 60;
const MAX_FRAME_MS = 700;

export class Player {
  readonly #lanes = [
    new Lane({ name: 'Diffusion', about: 'Sees both sides, fills the surest slots first.', seesSuffix: true }),
    new Lane({ name: 'Left to right', about: 'The same weights, a token a pass.', seesSuffix: false }),
  ];
  readonly #range = element('input', { type: 'range', id: 'scrubber', min: 0, max: 0, value: 0 });
  readonly #where = element('output', { for: 'scrubber', id: 'scrubber-text' });
  readonly #play = element('button', { type: 'button', class: 'icon-button', id: 'play' });
  readonly #caption = element('p', { class: 'caption', id: 'caption' });
  readonly #clock = element(
    'select',
    { id: 'clock' },
    element('option', { value: 'passes' }, 'by passes'),
    element('option', { value: 'cpu' }, 'by CPU time'),
  );
  #recordings: readonly Recording[] = [];
  #moments: Moment[] = [];
  #timer: number | undefined;

  constructor(lanes: HTMLElement, controls: HTMLElement) {
    lanes.append(...this.#lanes.map(({ root }) => root));
    controls.append(
      this.#play,
      element('label', { for: 'scrubber', class: 'hidden' }, 'Step'),
      this.#range,
      this.#where,
      element('label', { for: 'clock', class: 'hidden' }, 'Clock'),
      this.#clock,
      this.#caption,
    );
    this.#range.addEventListener('input', () => {
      this.#pause();
      this.#showMoment();
    });
    this.#play.addEventListener('click', () => (this.#timer === undefined ? this.play() : this.#pause()));
    this.#clock.addEventListener('change', () => this.#lay());
    this.#setPlaying(false);
    this.#lay();
  }

  /** Sets the code, with the runs of both decoders in it, and shows their end; without runs the code alone. */
  set(scene: Scene, recordings: readonly [Recording, Recording] | undefined): void {
    this.#pause();
    this.#recordings = recordings ?? [];
    for (const [index, lane] of this.#lanes.entries()) lane.set(scene, recordings?.[index]);
    this.#lay();
  }

  /** Plays from the start; with reduced motion it shows the end. */
  play(): void {
    this.#pause();
    const last = this.#moments.length - 1;
    if (last < 1) return;
    const isStill = window.matchMedia('(prefers-reduced-motion: reduce)').matches;
    this.#go(isStill ? last : 0);
    if (isStill) return;
    this.#setPlaying(true);
    this.#wait();
  }

  /** Goes on to the next moment when its time has come: moments are as far apart as they are on the clock. */
  #wait(): void {
    const position = Number(this.#range.value);
    const [now, next] = [this.#moments[position]!, this.#moments[position + 1]!];
    const share = (next.at - now.at) / this.#moments.at(-1)!.at;
    const waitMs = Math.min(MAX_FRAME_MS, Math.max(MIN_FRAME_MS, share * PLAY_MS));
    this.#timer = window.setTimeout(() => {
      this.#go(position + 1);
      if (position + 2 < this.#moments.length) this.#wait();
      else this.#pause();
    }, waitMs);
  }

  #pause(): void {
    window.clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#setPlaying(false);
  }

  #setPlaying(playing: boolean): void {
    this.#play.dataset.icon = playing ? 'pause' : 'play';
    this.#play.setAttribute('aria-label', playing ? 'Pause' : 'Play the passes');
  }

  #lay(): void {
    this.#pause();
    const known = hasClock(this.#recordings);
    this.#clock.disabled = !known;
    this.#moments = momentsOf(this.#recordings, known ? (this.#clock.value as Clock) : 'passes');
    const last = this.#moments.length - 1;
    this.#range.max = String(last);
    this.#range.disabled = last < 1;
    this.#play.disabled = this.#range.disabled;
    this.#go(last);
  }

  #go(position: number): void {
    this.#range.value = String(position);
    this.#showMoment();
  }

  #showMoment(): void {
    const moment = this.#moments[Number(this.#range.value)];
    const [diffusion] = this.#recordings;
    if (moment === undefined || diffusion === undefined) {
      this.#where.textContent = '';
      this.#caption.textContent = '';
      return;
    }
    for (const [index, lane] of this.#lanes.entries()) lane.show(moment.counts[index]!);
    const last = this.#moments.at(-1)!.at;
    const inTime = this.#clock.value === 'cpu' && !this.#clock.disabled;
    const text = inTime ? `${moment.at.toFixed(1)} of ${milliseconds(last)}` : `pass ${moment.at} of ${last}`;
    this.#where.textContent = text;
    this.#caption.textContent = captionAfter(diffusion, moment.counts[0]!);
    this.#range.setAttribute('aria-valuetext', `${text}: ${this.#caption.textContent}`);
  }
}
