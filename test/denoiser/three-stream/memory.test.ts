/** The memory plan of the model that ships: what is left of its bound goes to contexts. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseConfig } from '../../../src/denoiser/three-stream/config.ts';
import { LARGEST_MEMORY_BYTES, planMemory } from '../../../src/denoiser/three-stream/memory.ts';
import { instantiateBuild } from '../../../src/denoiser/transformer/kernels.ts';
import { DEFAULT_CACHE_BYTES } from '../../../src/engine/three-stream/model.ts';
import { MODELS } from '../../../support/models-folder.ts';
import { kernelModule } from '../../assembly/builds.ts';

const MIB = 2 ** 20;
const kernels = instantiateBuild('simd', kernelModule('simd'), new WebAssembly.Memory({ initial: 1 }));
const config = parseConfig(JSON.parse(readFileSync(join(MODELS, 'nano/config.json'), 'utf8')));
const plan = (memoryBytes?: number) => planMemory(kernels, config, kernels.heapBase, DEFAULT_CACHE_BYTES, memoryBytes);

describe('the memory of a denoiser', () => {
  it.each([10 * MIB, 12 * MIB, 40 * MIB, LARGEST_MEMORY_BYTES])('should stay within its bound of %d bytes', (bound) => {
    const { bytes, prefixContexts, suffixContexts } = plan(bound);
    expect(bytes).toBeLessThanOrEqual(bound);
    expect(prefixContexts.length).toBeGreaterThan(0);
    expect(suffixContexts).toHaveLength(prefixContexts.length);
  });

  it('should have more contexts the more there is of it', () => {
    const pairs = [0, 12 * MIB, 40 * MIB, undefined].map((bound) => plan(bound).prefixContexts.length);
    expect(pairs).toEqual(pairs.toSorted((a, b) => a - b));
    expect(new Set(pairs).size).toBe(4);
    expect(pairs[0]).toBe(1);
  });
});
