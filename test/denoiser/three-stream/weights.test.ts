import { describe, expect, it } from 'vitest';
import { Denoiser } from '../../../src/denoiser/three-stream/denoiser.ts';
import { SafetensorsError } from '../../../src/denoiser/transformer/safetensors.ts';
import { modulesOf } from '../files.ts';
import { type FileTensor, fileTensors, randomIds, randomModel } from '../random-model.ts';
import { type Header, safetensorsBytes, streamOf } from '../safetensors-file.ts';

const model = randomModel(3);
const tensors = fileTensors(model);
const file = safetensorsBytes(tensors);
const NORM = 'model.norm.weight';
const Q_PROJ = 'model.layers.0.self_attn.q_proj.weight_packed';

function load(bytes: Uint8Array, chunkBytes?: number): Promise<Denoiser> {
  return Denoiser.load({
    modules: modulesOf('simd'),
    config: model.config,
    openWeights: async () => streamOf(bytes, chunkBytes),
    cacheBytes: 0,
  });
}

async function refusal(bytes: Uint8Array): Promise<string> {
  const error: unknown = await load(bytes).catch((thrown) => thrown);
  expect(error).toBeInstanceOf(SafetensorsError);
  return (error as SafetensorsError).message;
}

const damaged = (edit: (header: Header) => void) => refusal(safetensorsBytes(tensors, edit));

describe('loading weights', () => {
  it.each([7, 64, 4099, 2 ** 30])('should not depend on chunks of %i bytes', async (chunkBytes) => {
    const logits = async (denoiser: Denoiser) => {
      denoiser.extend(denoiser.prefixContexts[0]!, randomIds(1, 9));
      return Array.from(denoiser.evaluate(denoiser.prefixContexts[0]!, undefined, randomIds(2, 4), 4).allLogits(0));
    };
    expect(await logits(await load(file, chunkBytes))).toEqual(await logits(await load(file)));
  });

  it.each([
    [5, 'the header length'],
    [100, 'the header'],
    [file.length - 1, NORM],
  ])('should refuse a file cut to %i bytes', async (bytes, where) => {
    expect(await refusal(file.slice(0, bytes))).toContain(where);
  });

  it('should name the tensor in which a file ends', async () => {
    expect(await refusal(file.slice(0, Math.floor(file.length / 2)))).toMatch(/cut short in tensor 'model\.layers\.\d/);
  });

  it('should refuse bytes after the last tensor', async () => {
    const longer = new Uint8Array(file.length + 1);
    longer.set(file);
    expect(await refusal(longer)).toContain('behind the last tensor');
  });

  it('should refuse a header that is no JSON or too long', async () => {
    const noise = file.slice();
    noise.fill(0x21, 8, 20);
    expect(await refusal(noise)).toContain('not JSON');
    const long = file.slice();
    long.fill(0x7f, 4, 7);
    expect(await refusal(long)).toContain('at most');
  });

  it('should refuse a missing and an unknown tensor', async () => {
    const rest = tensors.filter(({ name }) => name !== Q_PROJ);
    expect(await refusal(safetensorsBytes(rest))).toContain(`'${Q_PROJ}' is missing`);
    const more: FileTensor = { name: 'model.bias', dtype: 'I8', shape: [1], bytes: new Uint8Array(1) };
    expect(await refusal(safetensorsBytes([...tensors, more]))).toContain("'model.bias' is not of this model");
  });

  it('should refuse an unknown or another dtype', async () => {
    const message = await damaged((header) => {
      header[NORM].dtype = 'F8_E4M3';
    });
    expect(message).toContain(`'${NORM}' has the unknown dtype F8_E4M3`);
    const other = await damaged((header) => {
      header[NORM].dtype = 'I32';
    });
    expect(other).toContain(`'${NORM}' has dtype I32, expected F32`);
  });

  it('should refuse another shape', async () => {
    const message = await damaged((header) => {
      header[Q_PROJ].shape.reverse();
    });
    expect(message).toContain(`'${Q_PROJ}' has shape [12,256], expected [256,12]`);
  });

  it('should refuse offsets that overlap or do not fit the shape', async () => {
    const overlap = await damaged((header) => {
      header[NORM].data_offsets[0] -= 4;
    });
    expect(overlap).toContain(`'${NORM}' starts at byte`);
    const short = await damaged((header) => {
      header[NORM].data_offsets[1] -= 4;
    });
    expect(short).toContain(`'${NORM}' has 380 bytes, its shape takes 384`);
  });

  it('should refuse a weight_shape that contradicts the config', async () => {
    const name = 'model.layers.1.mlp.down_proj.weight_shape';
    const other = tensors.map((tensor) => (tensor.name === name ? { ...tensor, bytes: new Uint8Array(16) } : tensor));
    expect(await refusal(safetensorsBytes(other))).toContain(`weight_shape' is 0 × 0, expected 96 × 160`);
  });

  it('should take tensors in any order', async () => {
    const context = (denoiser: Denoiser) => {
      denoiser.extend(denoiser.prefixContexts[0]!, randomIds(1, 9));
      return Array.from(denoiser.evaluate(denoiser.prefixContexts[0]!, undefined, randomIds(2, 4), 4).allLogits(0));
    };
    expect(context(await load(safetensorsBytes(tensors.toReversed())))).toEqual(context(await load(file)));
  });

  it('should give the memory of chunks back, but not that of buffers that hold more', async () => {
    const half = Math.floor(file.length / 2);
    const [first, second] = [file.slice(0, half), file.slice().subarray(half)];
    const chunks = [first, second];
    const stream = new ReadableStream<Uint8Array>({
      pull(controller) {
        const chunk = chunks.shift();
        if (chunk) controller.enqueue(chunk);
        else controller.close();
      },
    });
    await Denoiser.load({
      modules: modulesOf('simd'),
      config: model.config,
      openWeights: async () => stream,
      cacheBytes: 0,
    });
    expect(first.buffer.byteLength).toBe('transfer' in ArrayBuffer.prototype ? 0 : half);
    expect(second).toEqual(file.subarray(half));
  });

  it('should pass on what the stream fails with, also at its very end', async () => {
    const failure = new Error('digest mismatch');
    const stream = new ReadableStream<Uint8Array>({
      start: (controller) => controller.enqueue(file.slice()),
      pull: (controller) => controller.error(failure),
    });
    const loading = Denoiser.load({
      modules: modulesOf('simd'),
      config: model.config,
      openWeights: async () => stream,
      cacheBytes: 0,
    });
    await expect(loading).rejects.toBe(failure);
  });

  it('should cancel the stream of a file it refuses', async () => {
    let cancelled = false;
    const stream = new ReadableStream<Uint8Array>({
      pull: (controller) => controller.enqueue(new Uint8Array(64).fill(1)),
      cancel: () => {
        cancelled = true;
      },
    });
    const loading = Denoiser.load({
      modules: modulesOf('simd'),
      config: model.config,
      openWeights: async () => stream,
      cacheBytes: 0,
    });
    await expect(loading).rejects.toThrow(SafetensorsError);
    expect(cancelled).toBe(true);
  });
});
