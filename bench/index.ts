/**
 * All measurements: a table each, then everything as one line of JSON.
 *
 * Run: `npm run bench` (Node 24 or later; the kernels must be built).
 */

import { benchDenoiser, formatDenoiser } from './denoiser.ts';
import { benchLayer, benchMatmuls, formatLayer, formatMatmuls } from './kernels.ts';

const matmuls = benchMatmuls();
console.log(`${formatMatmuls(matmuls)}\n`);
const layer = benchLayer();
console.log(`${formatLayer(layer)}\n`);
const denoiser = await benchDenoiser();
console.log(`${formatDenoiser(denoiser)}\n`);
console.log(JSON.stringify({ node: process.version, matmuls, layer, denoiser }));
