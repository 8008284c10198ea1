import { describe, expect, it } from 'vitest';
import { probe } from '../../../src/denoiser/transformer/kernel-probe.ts';
import { instantiateBuild, instantiateKernels, KernelProbeError } from '../../../src/denoiser/transformer/kernels.ts';
import { emptyWorkbench, kernelModule } from '../../assembly/builds.ts';

/** A module that compiles and instantiates but has none of the exports. */
const EMPTY_MODULE = new WebAssembly.Module(new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]));

function newMemory(): WebAssembly.Memory {
  return new WebAssembly.Memory({ initial: 1 });
}

describe('instantiateKernels', () => {
  it('should choose the relaxed build where it computes right', () => {
    const modules = { relaxed: kernelModule('relaxed'), simd: kernelModule('simd') };
    expect(instantiateKernels(modules, newMemory()).build).toBe('relaxed');
  });

  it('should fall back to the plain build where the relaxed one did not compile', () => {
    expect(instantiateKernels({ simd: kernelModule('simd') }, newMemory()).build).toBe('simd');
  });

  it('should fall back to the plain build where the relaxed one does not instantiate', () => {
    const modules = { relaxed: EMPTY_MODULE, simd: kernelModule('simd') };
    expect(instantiateKernels(modules, newMemory()).build).toBe('simd');
  });

  it('should throw where no build instantiates', () => {
    expect(() => instantiateKernels({ simd: EMPTY_MODULE }, newMemory())).toThrow(TypeError);
  });

  it('should give the host what lies past an aligned heapBase inside the first page', () => {
    const { heapBase } = instantiateBuild('simd', kernelModule('simd'), newMemory());
    expect(heapBase % 16).toBe(0);
    expect(heapBase).toBeGreaterThan(0);
    expect(heapBase).toBeLessThan(65536);
  });
});

describe('probe', () => {
  it.each(['matmulU4', 'matmulU7'] as const)('should name a wrong result of %s', (kernel) => {
    const { kernels, memory } = emptyWorkbench('simd');
    const wrong = {
      ...kernels,
      [kernel]: (a: number, rows: number, k: number, w: number, n: number, y: number, last: number) => {
        kernels[kernel](a, rows, k, w, n, y, last as 0);
        const results = new Float32Array(memory.buffer, y, rows * n);
        results[n + 2] = results[n + 2]! + 1;
      },
    };
    const mismatch = probe(wrong, memory, kernels.heapBase);
    expect(mismatch).toMatchObject({ kernel, row: 1, column: 2 });
    expect(mismatch!.actual).toBe(mismatch!.expected + 1);
    expect(new KernelProbeError('simd', mismatch!).message).toContain(`${kernel} row 1 column 2`);
  });

  it('should find nothing wrong with a right build', () => {
    const { kernels, memory } = emptyWorkbench('relaxed');
    expect(probe(kernels, memory, kernels.heapBase)).toBeNull();
  });
});
