/** One decoder's canvas: its slots in a row, coloured by confidence, with its clocks and its text so far. */
import type { SlotView } from '../../../src/engine/types.ts';
import { element } from '../dom.ts';
import { cpuMsAfter, hasClock, type Recording, slotsAfter, textAfter } from './recording.ts';

/** The glyph of a slot without a prediction, by its index: the same noise each time. */
const NOISE_GLYPHS = ['▓', '▒', '░', '▚', '▞', '▙', '▟'];

/** A slot that the denoiser predicts to be after the end. */
const NOTHING_GLYPH = '∅';

/** A slot with an end token. */
const END_GLYPH = '■';

const CHANGES = { reveal: 'revealed', edit: 'edited', remask: 'masked again', drop: 'dropped' } as const;

export class Lane {
  readonly root: HTMLElement;
  readonly #clock = element('span', { class: 'lane-clock' });
  readonly #counts = element('span', { class: 'lane-counts' });
  readonly #slots = element('ol', { class: 'slots' });
  readonly #text = element('pre', { class: 'lane-text', tabindex: 0 });
  readonly #shown: string[] = [];

  constructor(name: string, explanation: string) {
    this.#slots.setAttribute('aria-label', `${name}: slots of the canvas`);
    this.#text.setAttribute('aria-label', `${name}: text so far`);
    this.#text.setAttribute('role', 'group');
    this.root = element(
      'section',
      { class: 'lane', 'aria-label': name },
      element(
        'header',
        {},
        element('h3', {}, name),
        element('p', { class: 'lane-about' }, explanation),
        element('p', { class: 'lane-clocks' }, this.#clock, this.#counts),
      ),
      this.#slots,
      this.#text,
    );
  }

  /** Shows a run after `count` steps, or `label` if there is no run. */
  show(recording: Recording | undefined, count: number, label: string): void {
    this.root.classList.toggle('is-empty', recording === undefined);
    if (recording === undefined) {
      this.#clock.textContent = '';
      this.#counts.textContent = label;
      this.#slots.replaceChildren();
      this.#shown.length = 0;
      this.#text.textContent = '';
      return;
    }
    const slots = slotsAfter(recording, count);
    this.#clock.textContent = hasClock([recording]) ? `${cpuMsAfter(recording, count).toFixed(1)} ms` : '';
    this.#counts.textContent = countsOf(recording, count, slots);
    this.#text.textContent = textAfter(recording, count);
    this.#showSlots(slots);
  }

  #showSlots(slots: readonly SlotView[]): void {
    while (this.#slots.children.length > slots.length) this.#slots.lastElementChild?.remove();
    this.#shown.length = Math.min(this.#shown.length, slots.length);
    for (const [index, slot] of slots.entries()) {
      const key = JSON.stringify(slot);
      if (this.#shown[index] === key) continue;
      this.#shown[index] = key;
      const made = slotElement(slot, index);
      const old = this.#slots.children[index];
      if (old) old.replaceWith(made);
      else this.#slots.append(made);
    }
  }
}

function slotElement(slot: SlotView, index: number): HTMLElement {
  const made = element(
    'li',
    { class: 'slot', 'data-state': slot.state, 'data-change': slot.change, 'aria-label': spoken(slot, index) },
    element('span', { class: 'slot-text', 'aria-hidden': true }, glyphs(slot, index)),
  );
  made.title = spoken(slot, index);
  made.style.setProperty('--confidence', slot.confidence.toFixed(3));
  return made;
}

/** The text of a slot with visible white space. */
export function glyphs({ state, text, confidence }: SlotView, index: number): string {
  if (state === 'end') return END_GLYPH;
  if (state === 'dropped') return '';
  const isKnown = state !== 'mask' || confidence > 0;
  if (text === '') return isKnown ? NOTHING_GLYPH : NOISE_GLYPHS[(index * 5) % NOISE_GLYPHS.length]!;
  return text.replaceAll('\n', '⏎').replaceAll('\t', '⇥').replaceAll(' ', '·').replaceAll('\ufffd', '◌');
}

function spoken({ state, text, confidence, change }: SlotView, index: number): string {
  const percent = `${Math.round(confidence * 100)} %`;
  const what = {
    mask: confidence === 0 ? 'noise' : `noise, perhaps ${text === '' ? 'nothing' : JSON.stringify(text)} (${percent})`,
    token: `${JSON.stringify(text)} (${percent})`,
    end: `end of the text (${percent})`,
    dropped: 'behind the end',
  }[state];
  return `${index + 1}: ${what}${change ? `, ${CHANGES[change]} in this step` : ''}`;
}

function countsOf({ steps, result }: Recording, count: number, slots: readonly SlotView[]): string {
  const decided = slots.filter(({ state }) => state === 'token').length;
  const parts = [`pass ${Math.min(count, steps.length)} of ${steps.length}`, `${decided} tokens`];
  if (result && count >= steps.length) parts.push(`${result.cost.slotEvaluations} slot evaluations`);
  return parts.join(' · ');
}
