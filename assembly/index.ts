/**
 * The whole ABI of the kernels; `src/denoiser/transformer/kernels.ts` has its types and what each argument means.
 *
 * One memory, imported; pointers are byte offsets into it. Two builds of this source: `npm run build:kernels`.
 */
export { attend, attentionScratchBytes } from './quantized/attention';
export { addBias } from './bias';
export { embedRows } from './embedding';
export { attentionMix, attentionScores } from './float/attention';
export { normHeads, rotateHeads, storeFloatKeysValues } from './float/heads';
export { softmaxRows } from './float/softmax';
export { headTopK } from './head';
export { quantizeQueries, storeKeysValues } from './quantized/heads';
export { activationBytes, blockBytes, heapBase, packedU4Bytes, packedU7Bytes, queryBytes } from './layout';
export { matmulU4 } from './matmul-u4';
export { matmulU7 } from './matmul-u7';
export { rmsNormQuantizeRows } from './norm';
export { packU4, packU4Scales, packU7, packU7Scales } from './pack';
export { quantizeRows } from './quantize';
export { swigluQuantizeRows } from './swiglu';
