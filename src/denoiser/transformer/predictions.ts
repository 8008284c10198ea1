/** What the head of a transformer predicts. */

/** Logits of rows of tokens; the best few of each row are already selected. */
export interface Predictions {
  readonly rows: number;
  /** Candidates of each row, best first. */
  readonly candidates: number;
  readonly ids: Int32Array; // (rows, candidates)
  readonly logits: Float32Array; // (rows, candidates)
  readonly logSumExp: Float32Array; // (rows), over the whole vocabulary
  /** All logits of one row, (vocabulary): computed at the call, overwritten by the next one on the same model. */
  allLogits(row: number): Float32Array;
}

/** The predictions of one row alone. */
export function predictionsOfRow(all: Predictions, row: number): Predictions {
  const { candidates } = all;
  const [start, end] = [row * candidates, (row + 1) * candidates];
  return {
    rows: 1,
    candidates,
    ids: all.ids.subarray(start, end),
    logits: all.logits.subarray(start, end),
    logSumExp: all.logSumExp.subarray(row, row + 1),
    allLogits: () => all.allLogits(row),
  };
}

/** Predictions as a pass leaves them in WASM memory. The next pass overwrites them; `allLogits` then throws. */
export interface PassPredictions extends Predictions {
  /** A copy that later passes do not change. It holds hidden states, from which `allLogits` computes. */
  keep(): Predictions;
}
