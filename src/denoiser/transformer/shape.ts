/** The shape of a transformer, and the error of a `config.json` that has none. */

/** The model's `config.json` is damaged or describes a network these kernels do not run. */
export class ConfigError extends Error {
  override name = 'ConfigError';
}

/** Weights that share a scale, along the input of a linear layer. */
export const GROUP_SIZE = 32;

/** The shape of a transformer of the Qwen family, whatever its streams. */
export interface TransformerShape {
  readonly hiddenSize: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly ffnSize: number;
  readonly vocabSize: number;
  readonly normEps: number;
  readonly ropeTheta: number;
}
