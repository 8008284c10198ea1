/** The head: from the residual stream to the best candidates of each row, and to all logits of a row when asked. */

import { rowOf } from './arena.ts';
import type { KernelExports } from './kernel-exports.ts';
import { CANDIDATES, HEAD_SCRATCH_BYTES, type TransformerMemory } from './pointers.ts';
import type { PassPredictions, Predictions } from './predictions.ts';
import type { TransformerShape } from './shape.ts';

export class Head {
  readonly #shape: TransformerShape;
  readonly #kernels: () => KernelExports;
  readonly #memory: WebAssembly.Memory;
  readonly #plan: TransformerMemory;
  /** Counts passes, so that predictions of an earlier one are not read from memory that has changed. */
  #pass = 0;

  /** @param kernels those to use now */
  constructor(
    shape: TransformerShape,
    kernels: () => KernelExports,
    memory: WebAssembly.Memory,
    plan: TransformerMemory,
  ) {
    this.#shape = shape;
    this.#kernels = kernels;
    this.#memory = memory;
    this.#plan = plan;
  }

  /** Has to be called before each pass: predictions of the one before are void. */
  beginPass(): void {
    this.#pass++;
  }

  /**
   * Predictions of consecutive groups of rows of the residual stream, from `firstRow` on; `counts` has the rows of each
   * group.
   */
  predict(firstRow: number, counts: readonly number[]): PassPredictions[] {
    const rows = counts.reduce((sum, count) => sum + count, 0);
    if (rows === 0) return [];
    const { scratch, head } = this.#plan;
    const { hiddenSize, vocabSize } = this.#shape;
    const { activations, candidateIds, candidateLogits, logSumExp } = scratch;
    this.#normalize(firstRow, rows);
    this.#kernels().headTopK(
      activations,
      rows,
      hiddenSize,
      head,
      vocabSize,
      CANDIDATES,
      candidateIds,
      candidateLogits,
      logSumExp,
      scratch.head,
      HEAD_SCRATCH_BYTES,
    );
    let next = 0;
    return counts.map((count) => {
      const row = next;
      next += count;
      return this.#predictionsAt(firstRow, row, count);
    });
  }

  /** @param row the first one, counted from `firstRow` on */
  #predictionsAt(firstRow: number, row: number, rows: number): PassPredictions {
    const pass = this.#pass;
    const { buffer } = this.#memory;
    const { hiddenSize } = this.#shape;
    const { hidden, candidateIds, candidateLogits, logSumExp } = this.#plan.scratch;
    const values = {
      rows,
      candidates: CANDIDATES,
      ids: new Int32Array(buffer, rowOf(candidateIds, row, CANDIDATES), rows * CANDIDATES),
      logits: new Float32Array(buffer, rowOf(candidateLogits, row, CANDIDATES), rows * CANDIDATES),
      logSumExp: new Float32Array(buffer, rowOf(logSumExp, row, 1), rows),
    };
    const isCurrent = () => {
      if (pass !== this.#pass) throw new Error('predictions of an earlier pass');
    };
    return {
      ...values,
      allLogits: (at) => {
        isCurrent();
        return this.#allLogits(firstRow + row + at);
      },
      keep: () => {
        isCurrent();
        const states = new Float32Array(buffer, rowOf(hidden, firstRow + row, hiddenSize), rows * hiddenSize).slice();
        return {
          ...values,
          ids: values.ids.slice(),
          logits: values.logits.slice(),
          logSumExp: values.logSumExp.slice(),
          allLogits: (at) => this.#allLogitsOf(states.subarray(at * hiddenSize, (at + 1) * hiddenSize)),
        } satisfies Predictions;
      },
    };
  }

  /** Logits of a hidden state (hidden) that was kept. It takes the place of row 0, so that the pass is over. */
  #allLogitsOf(state: Float32Array): Float32Array {
    this.beginPass();
    new Float32Array(this.#memory.buffer, this.#plan.scratch.hidden).set(state);
    return this.#allLogits(0);
  }

  #allLogits(row: number): Float32Array {
    const { scratch, head } = this.#plan;
    const { hiddenSize, vocabSize } = this.#shape;
    this.#normalize(row, 1);
    this.#kernels().matmulU7(scratch.activations, 1, hiddenSize, head, vocabSize, scratch.logits, vocabSize);
    return new Float32Array(this.#memory.buffer, scratch.logits, vocabSize);
  }

  /** Rows of the residual stream, normed and quantized for the head. */
  #normalize(firstRow: number, rows: number): void {
    const { scratch, finalNorm } = this.#plan;
    const { hiddenSize, normEps } = this.#shape;
    const hidden = rowOf(scratch.hidden, firstRow, hiddenSize);
    this.#kernels().rmsNormQuantizeRows(hidden, finalNorm, rows, hiddenSize, normEps, scratch.activations);
  }
}
