/**
 * Measurements: a table each, then everything as one line of JSON.
 *
 * Run: `npm run bench` for what one process measures in a few minutes (Node 24 or later; needs built kernels, and the
 * npm registry the first time); `npm run bench -- --all` also runs the benches that start servers, install peers or
 * complete hundreds of tasks.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { benchLayer, benchMatmuls, formatLayer } from './kernels/kernels.ts';
import { formatMatmuls } from './kernels/matmuls.ts';
import { benchConcurrency, formatConcurrency } from './model/concurrency.ts';
import { benchDenoiser, formatDenoiser } from './model/denoiser.ts';
import { benchNative, formatNative } from './model/native.ts';
import { benchSteps, formatSteps } from './model/step.ts';
import { benchTyping, formatTyping } from './model/typing.ts';

/** Scripts of package.json that end with a line of JSON. */
const SEPARATE = ['workerd', 'quality', 'budget', 'cold', 'cost', 'checkpoint', 'load', 'peers'];

const { values: options } = parseArgs({ options: { all: { type: 'boolean', default: false } } });

const matmuls = benchMatmuls();
console.log(`${formatMatmuls(matmuls)}\n`);
const layer = benchLayer();
console.log(`${formatLayer(layer)}\n`);
const denoiser = await benchDenoiser();
console.log(`${formatDenoiser(denoiser)}\n`);
const steps = await benchSteps();
console.log(`${formatSteps(steps)}\n`);
const native = await benchNative();
console.log(`${formatNative(native)}\n`);
const typing = await benchTyping();
console.log(`${formatTyping(typing)}\n`);
const concurrency = await benchConcurrency();
console.log(`${formatConcurrency(concurrency)}\n`);
const separate: Record<string, unknown> = {};
for (const name of options.all ? SEPARATE : []) separate[name] = await benchSeparately(name);
const inProcess = { matmuls, layer, denoiser, steps, native, typing, concurrency };
console.log(JSON.stringify({ node: process.version, ...inProcess, ...separate }));

/** Runs `npm run bench:<name>`, shows what it prints and gives the JSON of its last line; throws when it fails. */
async function benchSeparately(name: string): Promise<unknown> {
  const child = spawn('npm', ['run', '--silent', `bench:${name}`], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(child, 'exit');
  let last: string | undefined;
  for await (const line of createInterface({ input: child.stdout })) {
    if (last !== undefined) console.log(last);
    last = line;
  }
  const [code] = await ended;
  if (code !== 0) throw new Error(`bench:${name} ended with ${code}`);
  console.log('');
  return JSON.parse(last ?? 'null');
}
