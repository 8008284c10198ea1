/**
 * The cost of a completion: processor time of the whole service (plain workerd, HTTP and JSON included) for completions
 * in source files, and its price.
 *
 * Run: `npm run bench:cost [-- REQUESTS [MODEL]]` on Linux. Prices are in PRICES; `CORE_HOUR_USD` in the environment
 * replaces that of a server.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { QUICK_MODEL } from '../../support/serving.ts';
import { processorMsOfProcess } from '../processor-time.ts';

const ROOT = join(import.meta.dirname, '../..');

/** US dollars. Workers Standard, above the usage included in the subscription of 5 dollars a month. */
export const PRICES = {
  source: 'https://developers.cloudflare.com/workers/platform/pricing/',
  read: '2026-11-25',
  perMillionRequests: 0.3,
  perMillionCpuMs: 0.02,
  /** Of one core of a rented server; an assumption, not a quoted price. */
  coreHour: Number(process.env.CORE_HOUR_USD ?? 0.02),
};

const MAX_TOKENS = 32;
const CONTEXT_CHARACTERS = 900;
/** Requests that load the model and let the compiler optimize. */
const WARM_UP_REQUESTS = 30;
/** Characters by which the cursor moves between two requests of somebody who types. */
const TYPED = 1;

export interface Scenario {
  readonly what: string;
  readonly requests: number;
  readonly completionTokens: number;
  readonly promptTokens: number;
  readonly cpuMs: number;
}

interface Usage {
  prompt_tokens: number;
  completion_tokens: number;
}

interface Place {
  prefix: string;
  suffix: string;
}

/** Places of a cursor in the sources of the repository, the same ones each time. */
async function places(count: number, typedOn: boolean): Promise<Place[]> {
  const files = (await readdir(join(ROOT, 'src'), { recursive: true })).filter((file) => file.endsWith('.ts')).sort();
  const text = (await Promise.all(files.map((file) => readFile(join(ROOT, 'src', file), 'utf8')))).join('\n');
  // Who types leaves the rest of the file as it is.
  const last = CONTEXT_CHARACTERS + count * TYPED;
  if (typedOn) {
    return Array.from({ length: count }, (_, index) => ({
      prefix: text.slice(0, CONTEXT_CHARACTERS + index * TYPED),
      suffix: text.slice(last, last + CONTEXT_CHARACTERS),
    }));
  }
  const stride = Math.floor((text.length - 2 * CONTEXT_CHARACTERS) / count);
  return Array.from({ length: count }, (_, index) => {
    const cursor = CONTEXT_CHARACTERS + index * stride;
    return {
      prefix: text.slice(cursor - CONTEXT_CHARACTERS, cursor),
      suffix: text.slice(cursor, cursor + CONTEXT_CHARACTERS),
    };
  });
}

/** Plain continuation, which ends later. */
function withoutSuffix({ prefix }: Place): Place {
  return { prefix, suffix: '' };
}

async function complete(url: string, { prefix, suffix }: Place): Promise<Usage> {
  // The service has one model: that of the default name.
  const response = await fetch(`${url}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ prompt: prefix, suffix, max_tokens: MAX_TOKENS }),
  });
  if (!response.ok) throw new Error(`the service answered ${response.status}: ${await response.text()}`);
  return ((await response.json()) as { usage: Usage }).usage;
}

async function measure(url: string, pid: number, what: string, cursors: readonly Place[]): Promise<Scenario> {
  const startMs = processorMsOfProcess(pid);
  let [completionTokens, promptTokens] = [0, 0];
  for (const place of cursors) {
    const usage = await complete(url, place);
    completionTokens += usage.completion_tokens;
    promptTokens += usage.prompt_tokens;
  }
  const cpuMs = processorMsOfProcess(pid) - startMs;
  return { what, requests: cursors.length, completionTokens, promptTokens, cpuMs };
}

/** Dollars for a million emitted tokens, on Cloudflare and on a server whose cores are busy. */
export function costOf({ requests, completionTokens, cpuMs }: Scenario): { cloudflare: number; server: number } {
  const millions = completionTokens / 1e6;
  const cloudflare = (requests / 1e6) * PRICES.perMillionRequests + (cpuMs / 1e6) * PRICES.perMillionCpuMs;
  return { cloudflare: cloudflare / millions, server: ((cpuMs / 3_600_000) * PRICES.coreHour) / millions };
}

export async function benchCost(requests = 200, model = QUICK_MODEL): Promise<Scenario[]> {
  const env = { ...process.env, MODEL: model };
  const child = spawn(process.execPath, ['scripts/serve.ts', '--port', '0'], { cwd: ROOT, stdio: 'pipe', env });
  try {
    let output = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk));
    while (!/"message":"serving /.test(output)) {
      if (child.exitCode !== null) throw new Error(`the service did not start:\n${output}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    const url = /http:\/\/\S+/.exec(output)![0];
    const pid = Number(readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8').trim());
    for (const place of await places(WARM_UP_REQUESTS, false)) await complete(url, place);
    return [
      await measure(url, pid, 'another place each time', await places(requests, false)),
      await measure(url, pid, 'a character typed', await places(requests, true)),
      await measure(url, pid, 'nothing on the right', (await places(requests, false)).map(withoutSuffix)),
    ];
  } finally {
    child.kill('SIGTERM');
    if (child.exitCode === null) await once(child, 'exit');
  }
}

export function formatCost(scenarios: readonly Scenario[], model: string): string {
  const header = `${'completions'.padEnd(26)}${'CPU ms'.padStart(8)}${'tokens'.padStart(8)}${'ms/token'.padStart(10)}${'Cloudflare'.padStart(12)}${'server'.padStart(9)}`;
  const lines = scenarios.map((scenario) => {
    const { what, requests, completionTokens, cpuMs } = scenario;
    const { cloudflare, server } = costOf(scenario);
    return (
      what.padEnd(26) +
      (cpuMs / requests).toFixed(1).padStart(8) +
      (completionTokens / requests).toFixed(1).padStart(8) +
      (cpuMs / completionTokens).toFixed(2).padStart(10) +
      `$${cloudflare.toFixed(3)}`.padStart(12) +
      `$${server.toFixed(3)}`.padStart(9)
    );
  });
  const { source, read, perMillionRequests, perMillionCpuMs, coreHour } = PRICES;
  return [
    `CPU ms and tokens of a request (${model}, at most ${MAX_TOKENS} tokens), dollars for a million tokens written`,
    header,
    ...lines,
    `Cloudflare: $${perMillionRequests} a million requests, $${perMillionCpuMs} a million CPU ms (${source}, ${read})`,
    `server: $${coreHour} a core-hour (CORE_HOUR_USD), cores busy`,
  ].join('\n');
}

if (import.meta.main) {
  const [requests = '200', model = QUICK_MODEL] = process.argv.slice(2);
  const scenarios = await benchCost(Number(requests), model);
  console.log(formatCost(scenarios, model));
  console.log(JSON.stringify({ node: process.version, model, prices: PRICES, scenarios }));
}
