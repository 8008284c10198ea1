/** When the editor asks, and what it keeps. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Completer } from '../../playground/src/editor/completer.ts';
import { FIRST_PAUSE_MS, MIN_PAUSE_MS } from '../../playground/src/editor/pause.ts';
import type { Result } from '../../playground/src/service/completions.ts';

const result = (text: string, totalMs = 10) => ({ text, cost: { totalMs } }) as Result;

/** A completer whose requests are answered by the test. */
function setUp() {
  const asked: { variant: number; signal: AbortSignal; answer: (result: Result) => void }[] = [];
  const shown: string[] = [];
  const problems: unknown[] = [];
  const busy: boolean[] = [];
  const completer = new Completer({
    ask: (variant, signal) =>
      new Promise((resolve, reject) => {
        asked.push({ variant, signal, answer: resolve });
        signal.addEventListener('abort', () => reject(signal.reason));
      }),
    onAnswer: () => {},
    show: (text) => shown.push(text),
    onNothing: () => shown.push('nothing'),
    onProblem: (error) => problems.push(error),
    onBusy: (is) => busy.push(is),
  });
  const answer = async (text: string, totalMs?: number) => {
    asked.at(-1)!.answer(result(text, totalMs));
    await vi.advanceTimersByTimeAsync(0);
  };
  return { completer, asked, shown, problems, busy, answer };
}

describe('the completer', () => {
  beforeEach(() => {
    vi.useFakeTimers();
    vi.stubGlobal('window', globalThis);
  });
  afterEach(() => {
    vi.useRealTimers();
    vi.unstubAllGlobals();
  });

  it('should ask after a pause, once for several keys', () => {
    const { completer, asked } = setUp();
    for (const key of 'abc') {
      completer.typed(key);
      vi.advanceTimersByTime(FIRST_PAUSE_MS - 1);
    }
    expect(asked).toHaveLength(0);
    vi.advanceTimersByTime(1);
    expect(asked).toHaveLength(1);
  });

  it('should pause as long as the latency tells', async () => {
    const { completer, asked, answer } = setUp();
    completer.typed('a');
    vi.advanceTimersByTime(FIRST_PAUSE_MS);
    await answer('', 4);
    expect(completer.pauseMs).toBe(MIN_PAUSE_MS);
    completer.typed('b');
    vi.advanceTimersByTime(MIN_PAUSE_MS);
    expect(asked).toHaveLength(2);
  });

  it('should keep a completion that is typed along, and ask again at its end', async () => {
    const { completer, asked, shown, answer } = setUp();
    completer.typed('x');
    vi.advanceTimersByTime(FIRST_PAUSE_MS);
    await answer('ab', 300);
    completer.typed('a');
    vi.advanceTimersByTime(5000);
    expect(asked).toHaveLength(1);
    completer.typed('b');
    vi.advanceTimersByTime(5000);
    expect(asked).toHaveLength(2);
    expect(shown).toEqual(['ab']);
  });

  it('should show what is left of a completion whose beginning was typed while it was on its way', async () => {
    const { completer, asked, shown, answer } = setUp();
    completer.typed('x');
    vi.advanceTimersByTime(FIRST_PAUSE_MS);
    completer.typed('r');
    completer.typed('e');
    await answer('require()');
    expect(shown).toEqual(['quire()']);
    vi.advanceTimersByTime(5000);
    expect(asked).toHaveLength(1);
  });

  it('should ask again where another text was typed than the one on its way', async () => {
    const { completer, asked, shown, answer } = setUp();
    completer.typed('x');
    vi.advanceTimersByTime(FIRST_PAUSE_MS);
    completer.typed('y');
    await answer('require()', 300);
    expect(shown).toEqual([]);
    vi.advanceTimersByTime(FIRST_PAUSE_MS);
    expect(asked).toHaveLength(2);
  });

  it('should give a request up when the next one is due, and at once when the text changes otherwise', async () => {
    const { completer, asked, problems, busy } = setUp();
    completer.typed('x');
    vi.advanceTimersByTime(FIRST_PAUSE_MS);
    completer.typed('y');
    expect(asked[0]!.signal.aborted).toBe(false);
    vi.advanceTimersByTime(FIRST_PAUSE_MS);
    expect(asked[0]!.signal.aborted).toBe(true);
    expect(asked[1]!.signal.aborted).toBe(false);
    completer.changed();
    expect(asked[1]!.signal.aborted).toBe(true);
    await vi.advanceTimersByTimeAsync(0);
    expect(problems).toEqual([]);
    expect(busy.at(-1)).toBe(false);
  });

  it('should keep of several candidates those that were typed along', async () => {
    const { completer, shown, answer } = setUp();
    completer.typed('x');
    vi.advanceTimersByTime(FIRST_PAUSE_MS);
    await answer('abc');
    for (const text of ['xyz', 'abd']) {
      void completer.cycle(1);
      await vi.advanceTimersByTimeAsync(0);
      await answer(text);
    }
    completer.typed('ab');
    await completer.cycle(-1);
    expect(shown).toEqual(['abc', 'xyz', 'abd', 'c']);
    await completer.cycle(-1);
    expect(shown.at(-1)).toBe('d');
  });

  it('should tell what went wrong, and nothing to show from an answer', async () => {
    const { completer, asked, shown, problems, answer } = setUp();
    completer.typed('x');
    vi.advanceTimersByTime(FIRST_PAUSE_MS);
    await answer('');
    expect(shown).toEqual(['nothing']);
    expect(problems).toEqual([]);
    expect(asked).toHaveLength(1);
  });
});
