/** What the head of a transformer predicts. */

/**
 * What the head says about rows of tokens. The arrays are views of WASM memory: the next call on the same denoiser overwrites them.
 */
export interface Predictions {
  readonly rows: number;
  /** Candidates of each row, best first. */
  readonly candidates: number;
  readonly ids: Int32Array; // (rows, candidates)
  readonly logits: Float32Array; // (rows, candidates)
  readonly logSumExp: Float32Array; // (rows), over the whole vocabulary
  /** All logits of one row, (vocabulary). */
  allLogits(row: number): Float32Array;
}
