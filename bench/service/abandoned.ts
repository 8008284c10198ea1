/**
 * What abandoned requests cost the next key: an editor asks for a completion, closes the connection at the next key,
 * and so on; then one key waits for its answer. The same key after a pause is the comparison, at the same place of the
 * same text behind a first line of its own, so that neither finds the other's context in the cache.
 *
 * Run: `npm run bench:abandoned`, or `node bench/service/abandoned.ts [rounds] [models] [runtimes] [interval]` after
 * `npm run build:worker`. The runtimes, `serve` and `start`, are started one after the other; the interval is that of
 * the keys, in milliseconds. Prints a table, then a line of JSON.
 */

import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import { request } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { MODELS } from '../../support/models-folder.ts';
import { type Service, serve, start } from '../../support/serving.ts';
import { median } from '../statistics.ts';
import { table } from '../table.ts';

const ROUNDS = 15;
const ABANDONED = 20;
/** Faster than anybody types, so that several requests are under way. */
const KEY_INTERVAL_MS = 20;
/** Between rounds, so that nothing of one is left in the next. */
const PAUSE_MS = 400;
/** Fits the context of every model together with its first line. */
const CHARACTERS_BEFORE = 500;
const CHARACTERS_AFTER = 250;
/** The key that is measured, and the requests before it, which ask for more than an editor shows. */
const KEY = { n_predict: 64 };
const ABANDONED_FIELDS = { n_predict: 128, n_cmpl: 3 };

/**
 * - `typing`: each request has one character more than the one before
 * - `elsewhere`: each request is for a place of its own
 */
const MANNERS = ['typing', 'elsewhere'] as const;
type Manner = (typeof MANNERS)[number];

interface Row {
  runtime: string;
  model: string;
  stream: boolean;
  manner: Manner;
  /** Medians of the milliseconds from the key to the end of its answer. */
  idleMs: number;
  afterMs: number;
}

interface Place {
  prefix: string;
  suffix: string;
}

const RUNTIMES: Readonly<Record<string, (models: string) => Promise<Service>>> = {
  serve: async (models) => {
    const program = await start('serve.ts', ['--port', '0', '--drain-seconds', '1'], { MODEL: models });
    return { url: /http:\/\/\S+/.exec(program.output())![0], stop: program.stop };
  },
  start: (models) => serve(MODELS, [], models),
};

/** Sends a request of llama.cpp's clients; `answered` rejects when it is given up. */
function ask(url: string, { prefix, suffix }: Place, fields: object) {
  const text = JSON.stringify({ input_prefix: prefix, prompt: '', input_suffix: suffix, ...fields });
  // Without an agent each request has a connection of its own, as where an editor starts curl.
  const asked = request(`${url}/infill`, {
    method: 'POST',
    agent: false,
    headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) },
  });
  asked.end(text);
  const answered = once(asked, 'response').then(async ([response]) => {
    let body = '';
    for await (const part of response) body += part;
    if (response.statusCode !== 200) throw new Error(`the service answered ${response.statusCode}: ${body}`);
  });
  answered.catch(() => {});
  return { answered, giveUp: () => asked.destroy() };
}

class Bench {
  readonly #text: string;
  readonly #intervalMs: number;
  #places = 0;
  #salts = 0;

  constructor(text: string, intervalMs: number) {
    this.#text = text;
    this.#intervalMs = intervalMs;
  }

  /** The next place in the text, always another one, and what is typed there. */
  place(): { at: number } {
    const stride = 1_571;
    const room = this.#text.length - CHARACTERS_BEFORE - CHARACTERS_AFTER - ABANDONED - 2;
    return { at: CHARACTERS_BEFORE + ((this.#places++ * stride) % room) };
  }

  /** A file that nobody has asked about: `typed` characters have been typed at the place. */
  file({ at }: { at: number }): (typed: number) => Place {
    const first = `// file ${this.#salts++}\n`;
    // What is typed is not behind the cursor yet: the suffix begins at the next line.
    const after = this.#text.indexOf('\n', at + ABANDONED + 1);
    return (typed) => ({
      prefix: first + this.#text.slice(at - CHARACTERS_BEFORE, at + typed),
      suffix: this.#text.slice(after, after + CHARACTERS_AFTER),
    });
  }

  /** Milliseconds of a key: after a pause, and after requests that were given up. */
  async round(url: string, fields: object, manner: Manner): Promise<{ idleMs: number; afterMs: number }> {
    const place = this.place();
    const last = ABANDONED + 1;
    const prepared = async () => {
      const file = this.file(place);
      await ask(url, file(0), { ...fields, ...KEY }).answered;
      await sleep(PAUSE_MS);
      return file;
    };
    const quiet = await prepared();
    const idleMs = await timed(() => ask(url, quiet(last), { ...fields, ...KEY }).answered);
    await sleep(PAUSE_MS);
    const file = await prepared();
    for (let typed = 1; typed <= ABANDONED; typed++) {
      const where = manner === 'typing' ? file(typed) : this.file(this.place())(0);
      const { giveUp } = ask(url, where, { ...fields, ...ABANDONED_FIELDS });
      await sleep(this.#intervalMs);
      giveUp();
    }
    const afterMs = await timed(() => ask(url, file(last), { ...fields, ...KEY }).answered);
    await sleep(PAUSE_MS);
    return { idleMs, afterMs };
  }
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const startMs = performance.now();
  await work();
  return performance.now() - startMs;
}

/** All source files as one text. */
async function sources(): Promise<string> {
  const folder = join(import.meta.dirname, '../../src');
  const files = (await readdir(folder, { recursive: true })).filter((file) => file.endsWith('.ts')).sort();
  return (await Promise.all(files.map((file) => readFile(join(folder, file), 'utf8')))).join('\n');
}

async function measure(
  rounds: number,
  models: readonly string[],
  runtimes: readonly string[],
  intervalMs: number,
): Promise<Row[]> {
  const bench = new Bench(await sources(), intervalMs);
  const rows: Row[] = [];
  for (const runtime of runtimes) {
    const service = await RUNTIMES[runtime]!(models.join(','));
    try {
      for (const model of models) {
        // The model loads, and the optimizing compiler replaces the first code.
        for (let round = 0; round < 3; round++) await bench.round(service.url, { model }, 'typing');
        for (const stream of [false, true]) {
          for (const manner of MANNERS) {
            const samples: Awaited<ReturnType<Bench['round']>>[] = [];
            for (let round = 0; round < rounds; round++) {
              samples.push(await bench.round(service.url, { model, stream }, manner));
            }
            const idleMs = median(samples.map((sample) => sample.idleMs));
            const afterMs = median(samples.map((sample) => sample.afterMs));
            rows.push({ runtime, model, stream, manner, idleMs, afterMs });
            process.stderr.write(`${JSON.stringify(rows.at(-1))}\n`);
          }
        }
      }
    } finally {
      await service.stop();
    }
  }
  return rows;
}

function format(rows: readonly Row[]): string {
  return table(
    rows.map(({ runtime, model, stream, manner, idleMs, afterMs }) => ({
      runtime: `npm run ${runtime}`,
      model,
      answers: stream ? 'streamed' : 'whole',
      [`${ABANDONED} abandoned`]: manner,
      'idle, ms': idleMs.toFixed(0),
      'after them, ms': afterMs.toFixed(0),
      ratio: (afterMs / idleMs).toFixed(2),
    })),
  );
}

if (import.meta.main) {
  const [rounds = ROUNDS, models = 'nano,small', runtimes = Object.keys(RUNTIMES).join(), interval = KEY_INTERVAL_MS] =
    process.argv.slice(2);
  const rows = await measure(Number(rounds), models.split(','), runtimes.split(','), Number(interval));
  console.log(`${format(rows)}\n`);
  console.log(JSON.stringify({ abandoned: rows }));
}
