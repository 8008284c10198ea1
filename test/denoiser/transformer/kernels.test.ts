import { describe, expect, it } from 'vitest';
import { probe } from '../../../src/denoiser/transformer/kernel-probe.ts';
import {
  confirmKernels,
  instantiateBuild,
  instantiateKernels,
  instantiateUnprobed,
  KernelProbeError,
  type Kernels,
} from '../../../src/denoiser/transformer/kernels.ts';
import { BUILDS, emptyWorkbench, kernelModule } from '../../assembly/builds.ts';
import { dot, nibbles, Random } from '../../assembly/oracle.ts';

/** A module that compiles and instantiates but has none of the exports. */
const EMPTY_MODULE = new WebAssembly.Module(new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]));

function newMemory(): WebAssembly.Memory {
  return new WebAssembly.Memory({ initial: 1 });
}

/** Wrong results of `rows` rows by 256 × 64 4-bit weights, with all scales 1. */
function wrongProducts({ memory, ...kernels }: Kernels & { memory: WebAssembly.Memory }, rows: number): number {
  const [k, n] = [256, 64];
  const random = new Random(rows);
  const q = random.integers(rows * k, -127, 127).map((value, i) => (i % k === 0 ? 127 : value));
  const weights = random.integers(n * k, -8, 7);
  let end = kernels.heapBase;
  const take = (bytes: number) => {
    end += (bytes + 15) & -16;
    return end - ((bytes + 15) & -16);
  };
  const [x, a, source] = [take(rows * k * 4), take(kernels.activationBytes(rows, k)), take((n * k) / 2)];
  const [scales, w, y] = [take((n * k) / 16), take(kernels.packedU4Bytes(n, k)), take(rows * n * 4)];
  new Float32Array(memory.buffer, x, rows * k).set(q);
  new Uint8Array(memory.buffer, source, (n * k) / 2).set(nibbles(weights));
  new Uint16Array(memory.buffer, scales, (n * k) / 32).fill(0x3f80);
  kernels.quantizeRows(x, rows, k, a);
  kernels.packU4(source, n, k, 0, w);
  kernels.packU4Scales(scales, n, k, 0, w);
  kernels.matmulU4(a, rows, k, w, n, y, 0);
  const results = new Float32Array(memory.buffer, y, rows * n);
  return results.filter((value, at) => value !== dot(q, weights, Math.floor(at / n), at % n, k)).length;
}

const modules = { relaxed: kernelModule('relaxed'), simd: kernelModule('simd') };
const ROWS = [1, 2, 3, 5, 8];

describe('instantiateKernels', () => {
  it('should choose the relaxed build where it computes right, and only there', () => {
    const memory = new WebAssembly.Memory({ initial: 4 });
    const relaxed = instantiateUnprobed('relaxed', modules.relaxed, memory);
    const isRight = ROWS.every((rows) => wrongProducts({ ...relaxed, memory }, rows) === 0);
    expect(instantiateKernels(modules, newMemory()).build).toBe(isRight ? 'relaxed' : 'simd');
  });

  it.each(ROWS)('should choose a build that multiplies %i rows right', (rows) => {
    const memory = new WebAssembly.Memory({ initial: 4 });
    expect(wrongProducts({ ...instantiateKernels(modules, memory), memory }, rows)).toBe(0);
  });

  it('should fall back to the plain build where the relaxed one did not compile', () => {
    expect(instantiateKernels({ simd: kernelModule('simd') }, newMemory()).build).toBe('simd');
  });

  it('should fall back to the plain build where the relaxed one does not instantiate', () => {
    const unusable = { relaxed: EMPTY_MODULE, simd: kernelModule('simd') };
    expect(instantiateKernels(unusable, newMemory()).build).toBe('simd');
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

/** The plain build, but for one result of the calls of a kernel that `isWrong` picks by its arguments. */
function withFault(kernel: FaultyKernel, isWrong: (args: readonly number[]) => boolean) {
  const { kernels, memory } = emptyWorkbench('simd');
  const output = OUTPUTS[kernel];
  const wrong = {
    ...kernels,
    [kernel]: (...args: number[]) => {
      (kernels[kernel] as (...args: number[]) => void)(...args);
      const results = new Float32Array(memory.buffer, args[output]!);
      if (isWrong(args)) results[2] = results[2]! + 1;
    },
  };
  return { wrong, kernels, memory };
}

/** Index of the argument that points to the results. */
const OUTPUTS = {
  matmulU4: 5,
  matmulU7: 5,
  headTopK: 7,
  attend: 11,
  attentionScores: 7,
  attentionMix: 6,
  softmaxRows: 0,
  swigluQuantizeRows: 0,
} as const;
type FaultyKernel = keyof typeof OUTPUTS;

describe('probe', () => {
  it.each(Object.keys(OUTPUTS) as FaultyKernel[])('should name a wrong result of %s', (kernel) => {
    const { wrong, memory } = withFault(kernel, () => true);
    const mismatch = probe(wrong, memory, wrong.heapBase);
    expect(mismatch).toMatchObject({ kernel, rows: 1, row: 0, column: 2 });
    expect(mismatch!.actual - mismatch!.expected).toBeGreaterThan(0.99);
    expect(new KernelProbeError('simd', mismatch!).message).toContain(`${kernel} of 1 rows, row 0 column 2`);
  });

  it.each(ROWS)('should find what is wrong with %i rows alone', (rows) => {
    for (const kernel of ['matmulU4', 'matmulU7', 'attend'] as const) {
      const { wrong, memory } = withFault(kernel, (args) => args[1] === rows);
      expect(probe(wrong, memory, wrong.heapBase)).toMatchObject({ kernel, rows });
    }
  });

  it.each(BUILDS)('should find nothing wrong with a right build: %s', (build) => {
    const { kernels, memory } = emptyWorkbench(build);
    expect(probe(kernels, memory, kernels.heapBase)).toBeNull();
  });
});

describe('confirmKernels', () => {
  it('should keep kernels that compute right', () => {
    const { kernels, memory } = emptyWorkbench('simd');
    expect(confirmKernels(kernels, modules, memory, kernels.heapBase)).toBe(kernels);
  });

  it('should replace others by the plain build, and refuse that one when it computes wrong', () => {
    const { wrong, memory } = withFault('matmulU4', () => true);
    expect(confirmKernels({ ...wrong, build: 'relaxed' }, modules, memory, wrong.heapBase).build).toBe('simd');
    expect(() => confirmKernels(wrong, modules, memory, wrong.heapBase)).toThrow(KernelProbeError);
  });
});
