/** The tensors of the three-stream denoiser in `model.safetensors`, and where they go. */

import type { KernelExports } from '../transformer/kernel-exports.ts';
import { TensorSinks } from '../transformer/tensor-sinks.ts';
import type { DenoiserConfig } from './config.ts';
import type { MemoryPlan } from './memory.ts';

/** Reads all weights of a model. Throws SafetensorsError, naming the tensor, and what the stream fails with. */
export async function loadWeights(
  source: ReadableStream<Uint8Array>,
  config: DenoiserConfig,
  kernels: KernelExports,
  plan: MemoryPlan,
  memory: WebAssembly.Memory,
): Promise<void> {
  const { hiddenSize, ffnSize, headDim, vocabSize } = config;
  const queryWidth = config.heads * headDim;
  const keyWidth = config.kvHeads * headDim;
  const qkvRows = queryWidth + 2 * keyWidth;
  const sinks = new TensorSinks(kernels, plan, memory);
  sinks.table('model.embed_tokens', vocabSize, hiddenSize, plan.embedding);
  for (const [index, layer] of plan.layers.entries()) {
    const name = `model.layers.${index}`;
    const attention = `${name}.self_attn`;
    sinks.vector(`${name}.input_layernorm.weight`, hiddenSize, layer.inputNorm);
    sinks.vector(`${name}.post_attention_layernorm.weight`, hiddenSize, layer.postAttentionNorm);
    sinks.vector(`${attention}.q_norm.weight`, headDim, layer.qNorm);
    sinks.vector(`${attention}.k_norm.weight`, headDim, layer.kNorm);
    sinks.linear(`${attention}.q_proj`, queryWidth, hiddenSize, layer.qkv, qkvRows, 0);
    sinks.linear(`${attention}.k_proj`, keyWidth, hiddenSize, layer.qkv, qkvRows, queryWidth);
    sinks.linear(`${attention}.v_proj`, keyWidth, hiddenSize, layer.qkv, qkvRows, queryWidth + keyWidth);
    sinks.linear(`${attention}.o_proj`, hiddenSize, queryWidth, layer.output);
    sinks.linear(`${name}.mlp.gate_proj`, ffnSize, hiddenSize, layer.gateUp, 2 * ffnSize, 0);
    sinks.linear(`${name}.mlp.up_proj`, ffnSize, hiddenSize, layer.gateUp, 2 * ffnSize, ffnSize);
    sinks.linear(`${name}.mlp.down_proj`, hiddenSize, ffnSize, layer.down);
  }
  sinks.vector('model.norm.weight', hiddenSize, plan.finalNorm);
  await sinks.read(source);
}
