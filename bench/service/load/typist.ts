/**
 * Simulates a user who types, and an editor that requests a completion after every key. It is an open loop: keys do not
 * wait for answers, so a slow service gets the same load, and latencies count from the key.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { mulberry32 } from '../../../support/seeded-random.ts';
import type { KeyStroke } from '../../model/typing.ts';

/** About 55 words a minute within a burst. */
const MEDIAN_INTERVAL_MS = 180;
/** Spread of the logarithm of the interval. */
const INTERVAL_SIGMA = 0.4;
/** Users pause to think or read: every so many keys on average. */
const KEYS_A_BURST = 12;
const PAUSE_MS = { min: 800, max: 2_400 };

/**
 * What the editor does with an active request at the next key: abort it (minuet and Continue, which stream), or let it
 * end and then request a completion of the newest state (llama.vim, which reads whole answers).
 */
export type Manner = 'abort' | 'follow';

export type Fate = 'answered' | 'given up' | 'refused' | 'failed';

export interface Outcome {
  fate: Fate;
  /** From the key to the end of the answer. */
  ms: number;
  /** From the start of the session. */
  atMs: number;
}

/** Times of the keys of a session, in milliseconds from its start. */
export function keyTimes(seed: number, durationMs: number): number[] {
  const random = mulberry32(seed);
  const gaussian = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  const times: number[] = [];
  for (let at = PAUSE_MS.max * random(); at < durationMs; ) {
    times.push(at);
    const isPause = random() < 1 / KEYS_A_BURST;
    at += isPause
      ? PAUSE_MS.min + (PAUSE_MS.max - PAUSE_MS.min) * random()
      : MEDIAN_INTERVAL_MS * Math.exp(INTERVAL_SIGMA * gaussian());
  }
  return times;
}

interface Session {
  url: string;
  manner: Manner;
  strokes: readonly KeyStroke[];
  times: readonly number[];
}

export class Typist {
  readonly manner: Manner;
  readonly outcomes: Outcome[] = [];
  readonly #session: Session;
  #startMs = 0;
  #current: { abort: AbortController; done: Promise<void> } | undefined;
  #next: { stroke: KeyStroke; keyMs: number } | undefined;

  constructor(session: Session) {
    this.#session = session;
    this.manner = session.manner;
  }

  /** Types the whole session; resolves after the last answer. */
  async type(): Promise<void> {
    const { strokes, times } = this.#session;
    this.#startMs = performance.now();
    for (const [at, time] of times.entries()) {
      const keyMs = this.#startMs + time;
      await sleep(Math.max(0, keyMs - performance.now()));
      this.#press(strokes[at % strokes.length]!, keyMs);
    }
    while (this.#current) await this.#current.done;
  }

  #press(stroke: KeyStroke, keyMs: number): void {
    if (this.#current && this.manner === 'follow') {
      this.#next = { stroke, keyMs };
      return;
    }
    this.#current?.abort.abort();
    const abort = new AbortController();
    const current = { abort, done: Promise.resolve() };
    this.#current = current;
    current.done = this.#ask(stroke, abort.signal).then((fate) => {
      const nowMs = performance.now();
      this.outcomes.push({ fate, ms: nowMs - keyMs, atMs: nowMs - this.#startMs });
      if (this.#current !== current) return;
      this.#current = undefined;
      const next = this.#next;
      this.#next = undefined;
      if (next) this.#press(next.stroke, next.keyMs);
    });
  }

  async #ask({ prefix, suffix }: KeyStroke, signal: AbortSignal): Promise<Fate> {
    const stream = this.manner === 'abort';
    try {
      const response = await fetch(`${this.#session.url}/v1/completions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ prompt: prefix, suffix, max_tokens: 16, stop: '\n', editor: true, stream }),
        signal,
      });
      const text = await response.text();
      if (response.ok) return !stream || text.endsWith('data: [DONE]\n\n') ? 'answered' : 'failed';
      const refused = response.status === 503 || response.status === 429;
      return refused && response.headers.has('retry-after') ? 'refused' : 'failed';
    } catch {
      return signal.aborted ? 'given up' : 'failed';
    }
  }
}
