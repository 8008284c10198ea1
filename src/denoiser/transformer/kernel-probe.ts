/**
 * Does a build of the kernels compute as it should on this machine? Every kernel with relaxed instructions runs on each
 * of its paths (groups of four rows and single rows, pairs of panels and a last one, whole and partial blocks of
 * tokens): an engine can compile one path wrongly and the others right, as V8's baseline compiler does without AVX.
 */
import type { KernelExports, Pointer } from './kernel-exports.ts';
import { type ProbeCases, probeCases, SHAPES } from './kernel-probe-cases.ts';
import { BLOCK_TOKENS } from './pointers.ts';

/** Bytes that a probe overwrites at most. */
export const PROBE_BYTES = 40_960;

/** Single rows, a group of four and a single row, two groups. */
const ROW_COUNTS = [1, 2, 3, 5, SHAPES.rows] as const;
/** 1.0 as bfloat16. */
const SCALE_ONE = 0x3f80;
/** What exp2 and sums of values up to 127 may be off in float32; a wrong product is off by far more. */
const ROUNDING = 2e-3;
const EXACT = 0;

type Checked =
  | 'matmulU4'
  | 'matmulU7'
  | 'headTopK'
  | 'attend'
  | 'attentionScores'
  | 'attentionMix'
  | 'softmaxRows'
  | 'swigluQuantizeRows';

/** What a build answered where it should have answered something else. */
export interface ProbeMismatch {
  readonly kernel: Checked;
  /** Rows of the call. */
  readonly rows: number;
  readonly row: number;
  readonly column: number;
  readonly expected: number;
  readonly actual: number;
}

/**
 * Runs the kernels in the PROBE_BYTES from `start` on (overwritten) and returns the first wrong result, or null.
 * The first call runs what the engine's baseline compiler made; call it again once the engine has optimized hot code.
 */
export function probe(kernels: KernelExports, memory: WebAssembly.Memory, start: Pointer): ProbeMismatch | null {
  const cases = probeCases();
  const run = new ProbeRun(kernels, memory, start);
  for (const rows of ROW_COUNTS) {
    const mismatch = run.products(cases, rows) ?? run.attention(cases, rows) ?? run.floats(cases, rows);
    if (mismatch !== null) return mismatch;
  }
  return null;
}

class ProbeRun {
  readonly #kernels: KernelExports;
  readonly #memory: WebAssembly.Memory;
  readonly #start: Pointer;
  #end: Pointer;

  constructor(kernels: KernelExports, memory: WebAssembly.Memory, start: Pointer) {
    this.#kernels = kernels;
    this.#memory = memory;
    this.#start = start;
    this.#end = start;
  }

  /** Both matrix products, and the head over the same weights. */
  products({ x, u4, u7, expected }: ProbeCases, rows: number): ProbeMismatch | null {
    const kernels = this.#kernels;
    const { k, n, topK } = SHAPES;
    this.#end = this.#start;
    const a = this.#take(kernels.activationBytes(rows, k));
    kernels.quantizeRows(this.#floats(x), rows, k, a);
    const scales = this.#take(n * (k / 32) * 2);
    new Uint16Array(this.#memory.buffer, scales, n * (k / 32)).fill(SCALE_ONE);
    const w = this.#take(Math.max(kernels.packedU4Bytes(n, k), kernels.packedU7Bytes(n, k)));
    const y = this.#take(rows * n * 4);

    kernels.packU4(this.#bytes(u4), n, k, 0, w);
    kernels.packU4Scales(scales, n, k, 0, w);
    kernels.matmulU4(a, rows, k, w, n, y, 0);
    kernels.matmulU4(a, rows, k, w, n, y, 1);
    const mismatch = this.#compare('matmulU4', rows, y, n, n, expected.u4);
    if (mismatch !== null) return mismatch;

    kernels.packU7(this.#bytes(u7), n, k, 0, w);
    kernels.packU7Scales(scales, n, k, n, 0, w);
    kernels.matmulU7(a, rows, k, w, n, y, n);
    // Scratch for a pair of panels: the last one is a chunk of its own.
    const headBytes = ((rows * 4 + 15) & -16) + rows * 4 * 16;
    const ids = this.#take(rows * topK * 4);
    const logits = this.#take(rows * topK * 4);
    const lse = this.#take(rows * 4);
    const scratch = this.#take(headBytes);
    kernels.headTopK(a, rows, k, w, n, topK, ids, logits, lse, scratch, headBytes);
    return (
      this.#compare('matmulU7', rows, y, n, n, expected.u7) ??
      this.#compare('headTopK', rows, logits, topK, topK, expected.head)
    );
  }

  /** Attention over a quantized cache: of a canvas, which sees two contexts, and of a causal stream. */
  attention({ queries, keys, values, expected }: ProbeCases, rows: number): ProbeMismatch | null {
    const kernels = this.#kernels;
    const { headDim, seen, prefixTokens, suffixTokens, scoreScale } = SHAPES;
    this.#end = this.#start;
    // Position 0 turns nothing: cosines of 1, sines of 0.
    const table = this.#floats([...Array(headDim / 2).fill(1), ...Array(headDim / 2).fill(0)]);
    const positions = this.#floats(Array(seen).fill(0));
    const block = this.#take(kernels.queryBytes(rows, headDim));
    const x = this.#floats(queries);
    kernels.quantizeQueries(x, rows, headDim, 1, headDim, 0, 0, positions, table, scoreScale, block);
    const pages = this.#pages(Math.ceil(seen / BLOCK_TOKENS), kernels.blockBytes(headDim));
    const [k, v] = [this.#floats(keys), this.#floats(values)];
    kernels.storeKeysValues(k, v, seen, headDim, headDim, 0, 0, positions, table, 0, pages, 0);
    const out = this.#take(rows * headDim * 4);
    const scratch = this.#take(kernels.attentionScratchBytes(3));

    const attend = (step: 0 | 1, suffixCount: number) =>
      kernels.attend(
        block,
        rows,
        1,
        headDim,
        0,
        pages,
        prefixTokens,
        step,
        block,
        pages,
        suffixCount,
        out,
        headDim,
        scratch,
      );
    attend(0, suffixTokens);
    const mismatch = this.#compare('attend', rows, out, headDim, headDim, expected.canvas, ROUNDING);
    if (mismatch !== null) return mismatch;
    attend(1, 0);
    return this.#compare('attend', rows, out, headDim, headDim, expected.causal, ROUNDING);
  }

  /** Attention in float32, its softmax, and SwiGLU. */
  floats({ queries, keys, values, weights, gateUp, expected }: ProbeCases, rows: number): ProbeMismatch | null {
    const kernels = this.#kernels;
    const { k, headDim, seen, scoreScale } = SHAPES;
    this.#end = this.#start;
    const stride = (seen + 7) & -8;
    const cacheKeys = this.#take(stride * headDim * 4);
    const cacheValues = this.#take(stride * headDim * 4);
    const [from, to] = [this.#floats(keys), this.#floats(values)];
    kernels.storeFloatKeysValues(from, to, seen, headDim, headDim, cacheKeys, cacheValues, 0);
    const scores = this.#take(rows * stride * 4);
    const q = this.#floats(queries);
    kernels.attentionScores(q, headDim, rows, headDim, cacheKeys, seen, scoreScale, scores, stride);
    const mismatch = this.#compare('attentionScores', rows, scores, stride, seen, expected.scores);
    if (mismatch !== null) return mismatch;
    kernels.softmaxRows(scores, rows, stride, seen, seen);
    const out = this.#take(rows * headDim * 4);
    kernels.attentionMix(this.#floats(weights), seen, rows, cacheValues, seen, headDim, out, headDim, 0);
    const gates = this.#floats(gateUp);
    kernels.swigluQuantizeRows(gates, rows, k / 2, this.#take(kernels.activationBytes(rows, k / 2)));
    return (
      this.#compare('softmaxRows', rows, scores, stride, seen, expected.softmax, ROUNDING / 127) ??
      this.#compare('attentionMix', rows, out, headDim, headDim, expected.mix) ??
      this.#compare('swigluQuantizeRows', rows, gates, k, k / 2, expected.swiglu, ROUNDING)
    );
  }

  #take(bytes: number): Pointer {
    const at = this.#end;
    this.#end += (bytes + 15) & -16;
    if (this.#end > this.#start + PROBE_BYTES) throw new RangeError(`the probe needs more than ${PROBE_BYTES} bytes`);
    return at;
  }

  /** A table of pages of one block each. */
  #pages(count: number, bytes: number): Pointer {
    const table = this.#take(count * 4);
    const first = this.#take(count * bytes);
    new Uint32Array(this.#memory.buffer, table, count).forEach((_, index, pages) => {
      pages[index] = first + index * bytes;
    });
    return table;
  }

  #floats(values: readonly number[]): Pointer {
    const at = this.#take(values.length * 4);
    new Float32Array(this.#memory.buffer, at, values.length).set(values);
    return at;
  }

  #bytes(values: readonly number[]): Pointer {
    const at = this.#take(values.length);
    new Uint8Array(this.#memory.buffer, at, values.length).set(values);
    return at;
  }

  /** Rows of `columns` results, `stride` apart, against those of a matrix that has at least as many rows. */
  #compare(
    kernel: Checked,
    rows: number,
    at: Pointer,
    stride: number,
    columns: number,
    expected: readonly number[],
    tolerance = EXACT,
  ): ProbeMismatch | null {
    const results = new Float32Array(this.#memory.buffer, at, rows * stride);
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        const [wanted, actual] = [expected[row * columns + column]!, results[row * stride + column]!];
        // Written so that NaN is a mismatch.
        if (!(Math.abs(actual - wanted) <= tolerance)) return { kernel, rows, row, column, expected: wanted, actual };
      }
    }
    return null;
  }
}
