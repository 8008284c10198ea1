/** The tensors of a converted checkpoint, and where they go. */

import type { KernelExports } from '../transformer/kernel-exports.ts';
import { TensorSinks } from '../transformer/tensor-sinks.ts';
import type { SingleStreamConfig } from './config.ts';
import type { SingleStreamPlan } from './memory.ts';

const FLOAT_BYTES = 4;

/** Reads all weights. Throws SafetensorsError, naming the tensor, and what the stream fails with. */
export async function loadSingleStreamWeights(
  source: ReadableStream<Uint8Array>,
  config: SingleStreamConfig,
  kernels: KernelExports,
  plan: SingleStreamPlan,
  memory: WebAssembly.Memory,
): Promise<void> {
  const { hiddenSize, ffnSize, headDim, vocabSize } = config;
  const queryWidth = config.heads * headDim;
  const keyWidth = config.kvHeads * headDim;
  const qkvRows = queryWidth + 2 * keyWidth;
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
    if (config.hasQkNorm) {
      sinks.vector(`${attention}.q_norm.weight`, headDim, layer.qNorm);
      sinks.vector(`${attention}.k_norm.weight`, headDim, layer.kNorm);
    }
    for (const { part, rows, first } of projections) {
      sinks.linear(`${attention}.${part}`, rows, hiddenSize, layer.qkv, qkvRows, first);
      if (config.hasBiases) sinks.vector(`${attention}.${part}.bias`, rows, layer.qkvBias + first * FLOAT_BYTES);
    }
    sinks.linear(`${attention}.o_proj`, hiddenSize, queryWidth, layer.output);
    sinks.linear(`${name}.mlp.gate_proj`, ffnSize, hiddenSize, layer.gateUp, 2 * ffnSize, 0);
    sinks.linear(`${name}.mlp.up_proj`, ffnSize, hiddenSize, layer.gateUp, 2 * ffnSize, ffnSize);
    sinks.linear(`${name}.mlp.down_proj`, hiddenSize, ffnSize, layer.down);
  }
  sinks.vector('model.norm.weight', hiddenSize, plan.finalNorm);
  if (!config.hasTiedHead) sinks.table('lm_head', vocabSize, hiddenSize, plan.head);
  await sinks.read(source);
}
