/** The tensors of a transformer in `model.safetensors`, by Hugging Face's names, and where they go. */

import { FLOAT_BYTES } from './arena.ts';
import type { KernelExports } from './kernel-exports.ts';
import type { TransformerMemory } from './pointers.ts';
import { projectionWidths, type TransformerShape } from './shape.ts';
import { TensorSinks } from './tensor-sinks.ts';

/** Reads all weights of a model. Throws SafetensorsError, naming the tensor, and what the stream fails with. */
export async function loadWeights(
  source: ReadableStream<Uint8Array>,
  shape: TransformerShape,
  kernels: KernelExports,
  plan: TransformerMemory,
  memory: WebAssembly.Memory,
): Promise<void> {
  const { hiddenSize, ffnSize, headDim, vocabSize } = shape;
  const { queryWidth, keyWidth } = projectionWidths(shape);
  const projections = [
    { part: 'q_proj', rows: queryWidth, first: 0 },
    { part: 'k_proj', rows: keyWidth, first: queryWidth },
    { part: 'v_proj', rows: keyWidth, first: queryWidth + keyWidth },
  ];
  const sinks = new TensorSinks(kernels, plan, memory);
  sinks.table('model.embed_tokens', vocabSize, hiddenSize, plan.embedding);
  for (const [index, layer] of plan.layers.entries()) {
    const name = `model.layers.${index}`;
    const attention = `${name}.self_attn`;
    sinks.vector(`${name}.input_layernorm.weight`, hiddenSize, layer.inputNorm);
    sinks.vector(`${name}.post_attention_layernorm.weight`, hiddenSize, layer.postAttentionNorm);
    if (shape.hasQkNorm) {
      sinks.vector(`${attention}.q_norm.weight`, headDim, layer.qNorm);
      sinks.vector(`${attention}.k_norm.weight`, headDim, layer.kNorm);
    }
    for (const { part, rows, first } of projections) {
      sinks.linear(`${attention}.${part}`, rows, hiddenSize, layer.qkv, first);
      if (shape.hasBiases) sinks.vector(`${attention}.${part}.bias`, rows, layer.qkvBias + first * FLOAT_BYTES);
    }
    sinks.linear(`${attention}.o_proj`, hiddenSize, queryWidth, layer.output);
    sinks.linear(`${name}.mlp.gate_proj`, ffnSize, hiddenSize, layer.gateUp);
    sinks.linear(`${name}.mlp.up_proj`, ffnSize, hiddenSize, layer.gateUp, ffnSize);
    sinks.linear(`${name}.mlp.down_proj`, hiddenSize, ffnSize, layer.down);
  }
  sinks.vector('model.norm.weight', hiddenSize, plan.finalNorm);
  if (!shape.hasTiedHead) sinks.table('lm_head', vocabSize, hiddenSize, plan.head);
  await sinks.read(source);
}
