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

export function textAfter({ steps, result }: Recording, count: number): string {
  if (result && count >= steps.length) return result.text;
  return steps[count - 1]?.text ?? '';
}

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
