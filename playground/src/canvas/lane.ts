/** One decoder's canvas in the code around it: slots coloured by confidence, with both clocks of the decoder. */
import type { SlotView } from '../../../src/engine/types.ts';
import { element } from '../dom.ts';
import { highlighted } from '../editor/highlighted.ts';
import type { Language } from '../editor/languages.ts';
import { milliseconds, percent } from '../figures.ts';
import { cpuMsAfter, hasClock, type Recording, type SlotStory, storiesAfter } from './recording.ts';

/** The glyph of a slot without a prediction, by its index: the same noise each time. */
const NOISE_GLYPHS = ['▓', '▒', '░', '▚', '▞', '▙', '▟'];

/** A slot that the denoiser predicts to be after the end. */
const NOTHING_GLYPH = '∅';

/** A slot with an end token. */
const END_GLYPH = '■';

const CHANGES = { reveal: 'revealed', edit: 'edited', remask: 'masked again', drop: 'dropped' } as const;

/** Lines of code around the canvas. */
const LINES_ABOVE = 7;
const LINES_BELOW = 3;

/** Code with a canvas at the cursor. */
export interface Scene {
  prefix: string;
  suffix: string;
  language: Language;
}

interface Parts {
  name: string;
  about: string;
  /** Whether the decoder reads the code after the cursor. */
  seesSuffix: boolean;
}

/** A slot on the page. */
interface Chip {
  root: HTMLElement;
  text: HTMLElement;
  pass: HTMLElement;
  /** What it shows, as a key. */
  shown: string;
}

export class Lane {
  readonly root: HTMLElement;
  readonly #name: string;
  readonly #seesSuffix: boolean;
  readonly #passes = element('dd');
  readonly #cpu = element('dd');
  readonly #evaluations = element('dd');
  readonly #code = element('div', { class: 'code', tabindex: 0, role: 'group' });
  #recording: Recording | undefined;
  #chips: Chip[] = [];

  constructor({ name, about, seesSuffix }: Parts) {
    this.#name = name;
    this.#seesSuffix = seesSuffix;
    this.#code.setAttribute('aria-label', `${name}: the canvas in its code`);
    const figure = (label: string, value: HTMLElement) => element('div', {}, element('dt', {}, label), value);
    this.root = element(
      'section',
      { class: 'lane', 'aria-label': name },
      element(
        'header',
        {},
        element('h3', {}, name),
        element('p', {}, about),
        element(
          'dl',
          { class: 'lane-figures' },
          figure('Passes', this.#passes),
          figure('CPU', this.#cpu),
          figure('Slots computed', this.#evaluations),
        ),
      ),
      this.#code,
    );
    this.show(0);
  }

  /** Lays out a run in its code, or the code alone while there is no run. */
  set(scene: Scene, recording: Recording | undefined): void {
    this.#recording = recording;
    const before = lastLines(scene.prefix, LINES_ABOVE);
    const after = firstLines(scene.suffix, LINES_BELOW);
    const spans = highlighted(`${before}${after}`, before.length, scene.language);
    const behind = element('span', { class: 'behind', 'data-unseen': !this.#seesSuffix && after !== '' });
    behind.append(...spans.after);
    const slots = element('ol', { class: 'slots', role: 'list' });
    slots.setAttribute('aria-label', `${this.#name}: slots of the canvas`);
    const final = recording ? reached(storiesAfter(recording, recording.steps.length)) : [];
    this.#chips = final.map(({ view }, index) => chipOf(view, index));
    slots.append(...this.#chips.map(({ root }, index) => element('li', {}, root, ...breakAfter(final[index]!.view))));
    const cursor = recording ? slots : element('span', { class: 'cursor', 'aria-hidden': true });
    this.#code.replaceChildren(element('span', { class: 'before' }, ...spans.before), cursor, behind);
    this.show(recording?.steps.length ?? 0);
    // Where not all lines fit, the canvas is in the middle.
    this.#code.scrollTop = cursor.offsetTop - (this.#code.clientHeight - cursor.offsetHeight) / 2;
  }

  /** Shows the run after `count` steps. */
  show(count: number): void {
    const recording = this.#recording;
    if (recording === undefined) {
      for (const value of [this.#passes, this.#cpu, this.#evaluations]) value.textContent = '–';
      return;
    }
    const { steps, result } = recording;
    const stories = storiesAfter(recording, count);
    for (const [index, chip] of this.#chips.entries()) update(chip, stories[index]!, index);
    this.#passes.textContent = `${Math.min(count, steps.length)} of ${steps.length}`.replaceAll(' ', '\u00a0');
    this.#cpu.textContent = milliseconds(hasClock([recording]) ? cpuMsAfter(recording, count) : undefined);
    this.#evaluations.textContent = result && count >= steps.length ? String(result.cost.slotEvaluations) : '–';
  }
}

/** The slots up to the last one that was decided: a run that is stopped leaves the rest of its canvas untouched. */
function reached(final: readonly SlotStory[]): readonly SlotStory[] {
  return final.slice(0, final.findLastIndex(({ view }) => view.state !== 'mask') + 1);
}

/** A slot as wide as its token will be at the end, so that nothing moves when it fills. */
function chipOf(final: SlotView, index: number): Chip {
  const text = element('span', { class: 'slot-text', 'aria-hidden': true });
  const pass = element('span', { class: 'slot-pass', 'aria-hidden': true });
  const root = element('span', { class: 'slot' }, text, pass);
  root.style.setProperty('--columns', String(Math.max(1, [...glyphs(final, index)].length)));
  return { root, text, pass, shown: '' };
}

function update(chip: Chip, story: SlotStory, index: number): void {
  const { view, decidedIn, edits } = story;
  const key = JSON.stringify([view, decidedIn, edits]);
  if (chip.shown === key) return;
  chip.shown = key;
  const { root, text, pass } = chip;
  root.dataset.state = view.state;
  for (const [name, value] of [
    ['change', view.change],
    ['edited', edits.length > 0 ? 'yes' : undefined],
  ] as const) {
    if (value === undefined) delete root.dataset[name];
    else root.dataset[name] = value;
  }
  root.style.setProperty('--confidence', view.confidence.toFixed(3));
  root.title = spoken(story, index);
  root.setAttribute('role', 'img');
  root.setAttribute('aria-label', root.title);
  text.textContent = glyphs(view, index);
  pass.textContent = [decidedIn, ...edits.map((edit) => edit.pass)].join('→');
}

/** A token that ends a line ends it on the page too; the indentation that follows is not part of the slot. */
function breakAfter({ state, text }: SlotView): (Node | string)[] {
  const at = text.lastIndexOf('\n');
  return state === 'token' && at >= 0 ? [element('br'), text.slice(at + 1)] : [];
}

/** The text of a slot; a line end and white space alone are visible. */
export function glyphs({ state, text, confidence }: SlotView, index: number): string {
  if (state === 'end') return END_GLYPH;
  if (state === 'dropped') return '';
  const isKnown = state !== 'mask' || confidence > 0;
  if (text === '') return isKnown ? NOTHING_GLYPH : NOISE_GLYPHS[(index * 5) % NOISE_GLYPHS.length]!;
  const line = text.replaceAll(/\n\s*/g, '⏎').replaceAll('\t', '⇥').replaceAll('\ufffd', '◌');
  return line.trim() === '' ? line.replaceAll(' ', '·') : line;
}

function spoken({ view: { state, text, confidence, change }, decidedIn, edits }: SlotStory, index: number): string {
  const sure = percent(confidence);
  const what = {
    mask: confidence === 0 ? 'noise' : `noise, perhaps ${text === '' ? 'nothing' : JSON.stringify(text)} (${sure})`,
    token: `${JSON.stringify(text)} (${sure})`,
    end: `end of the text (${sure})`,
    dropped: 'after the end',
  }[state];
  const parts = [`${index + 1}: ${what}`];
  if (change) parts.push(`${CHANGES[change]} in this pass`);
  else if (decidedIn !== undefined) parts.push(`decided in pass ${decidedIn}`);
  for (const { pass, from } of edits) parts.push(`was ${JSON.stringify(from)} until pass ${pass}`);
  return parts.join(', ');
}

function lastLines(text: string, count: number): string {
  return text.split('\n').slice(-count).join('\n');
}

function firstLines(text: string, count: number): string {
  return text.split('\n').slice(0, count).join('\n').trimEnd();
}
