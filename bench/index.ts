/**
 * All measurements: a table each, then everything as one line of JSON.
 *
 * Run: `npm run bench` (Node 24 or later; the kernels must be built, and npm's registry in reach the first time). Quality against cost
 * takes minutes and stands beside: `npm run bench:quality`.
 */

import { benchConcurrency, formatConcurrency } from './concurrency.ts';
import { benchDenoiser, formatDenoiser } from './denoiser.ts';
import { benchLayer, benchMatmuls, formatLayer } from './kernels.ts';
import { formatMatmuls } from './matmuls.ts';
import { benchNative, formatNative } from './native.ts';
import { benchSteps, formatSteps } from './step.ts';
import { benchTyping, formatTyping } from './typing.ts';

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
console.log(JSON.stringify({ node: process.version, matmuls, layer, denoiser, steps, native, typing, concurrency }));
