/** Recorded runs of a decoder, step by step, and two of them on one clock. Pure functions. */
import type { Decoding, SlotView } from '../../../src/engine/types.ts';
import type { Result, Step } from '../service/completions.ts';

export interface Recording {
  decoding: Decoding;
  steps: readonly Step[];
  /** Undefined while it runs. */
  result?: Result;
}

/** A slot without a prediction. */
const NOISE: SlotView = { state: 'mask', text: '', confidence: 0 };

/** All slots after `count` steps: finished canvases, then the current one. Before the first step all are noise. */
export function slotsAfter({ steps }: Recording, count: number): readonly SlotView[] {
  const step = steps[Math.min(count, steps.length) - 1];
  if (step === undefined) return Array<SlotView>(steps[0]?.slots.length ?? 0).fill(NOISE);
  const finished = steps
    .slice(0, count)
    .filter((earlier, index) => earlier.block < step.block && steps[index + 1]!.block > earlier.block)
    .flatMap(({ slots }) => slots.filter(({ state }) => state === 'token'))
    // The changes of finished canvases are not highlighted.
    .map(({ change: _, ...slot }) => slot);
  return [...finished, ...step.slots];
}

/** What has happened to a slot so far. */
export interface SlotStory {
  view: SlotView;
  /** The pass that decided it, from 1 on; undefined while it is undecided. */
  decidedIn?: number;
  /** Tokens that were replaced, with the pass that did so. */
  edits: readonly { pass: number; from: string }[];
}

/**
 * All slots that the run will have, after `count` steps, with their stories. Slots of canvases that have not begun are
 * noise, so that the number of slots never changes.
 */
export function storiesAfter(recording: Recording, count: number): SlotStory[] {
  const { steps } = recording;
  const states = Array.from({ length: Math.min(count, steps.length) + 1 }, (_, pass) => slotsAfter(recording, pass));
  return slotsAfter(recording, steps.length).map((_, slot) => {
    let decidedIn: number | undefined;
    const edits: { pass: number; from: string }[] = [];
    for (let pass = 1; pass < states.length; pass++) {
      const view = states[pass]![slot];
      if (view === undefined || view.state === 'mask' || view.state === 'dropped') decidedIn = undefined;
      else decidedIn ??= pass;
      if (view?.change === 'edit') edits.push({ pass, from: states[pass - 1]![slot]!.text });
    }
    return { view: states.at(-1)![slot] ?? NOISE, ...(decidedIn !== undefined && { decidedIn }), edits };
  });
}

/** What the pass that ended at `count` did, in words; before the first pass, what there is. */
export function captionAfter(recording: Recording, count: number): string {
  if (count === 0) return 'Noise: no slot is decided.';
  const stories = storiesAfter(recording, count);
  const revealed = stories.filter(({ view }) => view.change === 'reveal' && view.state === 'token');
  const ends = stories.some(({ view }) => view.change === 'reveal' && view.state === 'end');
  const edited = stories.filter(({ view }) => view.change === 'edit');
  const parts = [
    ...(revealed.length > 0 ? [`fills ${revealed.map(({ view }) => quoted(view.text)).join(' ')}`] : []),
    ...(ends ? ['finds the end'] : []),
    ...edited.map(({ view, edits }) => `edits ${quoted(edits.at(-1)!.from)} to ${quoted(view.text)}`),
  ];
  return `Pass ${Math.min(count, recording.steps.length)} ${parts.length > 0 ? parts.join(', ') : 'changes nothing'}.`;
}

const quoted = (text: string) => (text === '' ? 'the end' : `“${text.replaceAll('\n', '⏎')}”`);

/** Processor time after `count` steps. */
export function cpuMsAfter({ steps }: Recording, count: number): number {
  return steps[Math.min(count, steps.length) - 1]?.cpuMs ?? 0;
}

/** The clock of two runs: the number of passes, or processor time. */
export type Clock = 'passes' | 'cpu';

/** A point on the clock of several runs: how many steps each has taken. */
export interface Moment {
  counts: readonly number[];
  /** Passes, or milliseconds. */
  at: number;
}

/** Every point at which one of the runs changes, including the start. */
export function momentsOf(recordings: readonly Recording[], clock: Clock): Moment[] {
  if (clock === 'passes' || !hasClock(recordings)) {
    const last = Math.max(0, ...recordings.map(({ steps }) => steps.length));
    return Array.from({ length: last + 1 }, (_, at) => ({
      at,
      counts: recordings.map(({ steps }) => Math.min(at, steps.length)),
    }));
  }
  const times = new Set([0, ...recordings.flatMap(({ steps }) => steps.map(({ cpuMs }) => cpuMs))]);
  return [...times]
    .sort((a, b) => a - b)
    .map((at) => ({
      at,
      counts: recordings.map(({ steps }) => steps.filter(({ cpuMs }) => cpuMs <= at).length),
    }));
}

/** Whether the service reports processor time: on platforms without a running clock it is always 0. */
export function hasClock(recordings: readonly Recording[]): boolean {
  return recordings.some(({ steps }) => (steps.at(-1)?.cpuMs ?? 0) > 0);
}
