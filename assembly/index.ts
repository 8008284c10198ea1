/**
 * The whole ABI of the kernels; `src/denoiser/kernels.ts` has its types and what each argument means.
 *
 * One memory, imported; pointers are byte offsets into it. Two builds of this source: `npm run build:kernels`.
 */
export { attentionMix, attentionScores } from './attention';
export { storeKeysValues } from './cache';
export { embedRows } from './embedding';
export { headTopK } from './head';
export { activationBytes, heapBase, packedU4Bytes, packedU7Bytes } from './layout';
export { matmulU4 } from './matmul-u4';
export { matmulU7 } from './matmul-u7';
export { normHeads, rmsNormQuantizeRows } from './norm';
export { packU4, packU7 } from './pack';
export { quantizeRows } from './quantize';
export { rotateHeads } from './rotary';
export { softmaxRows } from './softmax';
export { swigluQuantizeRows } from './swiglu';
