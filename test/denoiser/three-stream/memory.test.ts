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
const { prefixCapacity, suffixCapacity } = planMemory(kernels, config, kernels.heapBase, 0);
const PAGES_OF_PAIR = Math.ceil(prefixCapacity / 32) + Math.ceil(suffixCapacity / 32);
const plan = (memoryBytes?: number) => planMemory(kernels, config, kernels.heapBase, DEFAULT_CACHE_BYTES, memoryBytes);

describe('the memory of a denoiser', () => {
  it.each([10 * MIB, 12 * MIB, 40 * MIB, LARGEST_MEMORY_BYTES])('should stay within its bound of %d bytes', (bound) => {
    const { bytes, pages, prefixTables, suffixTables } = plan(bound);
    expect(bytes).toBeLessThanOrEqual(bound);
    expect(pages).toBeGreaterThanOrEqual(PAGES_OF_PAIR);
    expect(suffixTables).toHaveLength(prefixTables.length);
  });

  it('should have more pages the more there is of it, and those of a full pair of contexts at least', () => {
    const pages = [0, 12 * MIB, 40 * MIB, undefined].map((bound) => plan(bound).pages);
    expect(pages).toEqual(pages.toSorted((a, b) => a - b));
    expect(new Set(pages).size).toBe(4);
    expect(pages[0]).toBe(PAGES_OF_PAIR);
  });
});
