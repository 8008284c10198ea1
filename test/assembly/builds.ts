/**
 * Both builds of the kernels on memories of their own, with an allocator for operands: every spec of this folder runs
 * on each.
 */
import { readFileSync } from 'node:fs';
import type { Pointer } from '../../src/denoiser/transformer/kernel-exports.ts';
import {
  instantiateBuild,
  type KernelBuild,
  KernelProbeError,
  type Kernels,
} from '../../src/denoiser/transformer/kernels.ts';

const PAGES = 256;
/**
 * All ones is NaN as float32 and -1 as an integer: if a kernel reads memory that was not written, its result shows it.
 */
const POISON = 0xff;

export interface Tensor<View> {
  readonly at: Pointer;
  readonly view: View;
}

/** A build and its memory. Views stay valid: the memory never grows. */
export class Workbench {
  readonly kernels: Kernels;
  readonly memory = new WebAssembly.Memory({ initial: PAGES });
  private end: Pointer;

  constructor(build: KernelBuild) {
    this.kernels = instantiateBuild(build, kernelModule(build), this.memory);
    this.end = this.kernels.heapBase;
    this.reset();
  }

  /** Frees and poisons everything. */
  reset(): void {
    this.end = this.kernels.heapBase;
    new Uint8Array(this.memory.buffer, this.end).fill(POISON);
  }

  bytes(length: number): Tensor<Uint8Array> {
    const at = this.end;
    this.end += (length + 15) & -16;
    return { at, view: new Uint8Array(this.memory.buffer, at, length) };
  }

  floats(values: number | ArrayLike<number>): Tensor<Float32Array> {
    const length = typeof values === 'number' ? values : values.length;
    const { at } = this.bytes(length * 4);
    const view = new Float32Array(this.memory.buffer, at, length);
    if (typeof values !== 'number') view.set(values);
    return { at, view };
  }

  ints(values: number | ArrayLike<number>): Tensor<Int32Array> {
    const length = typeof values === 'number' ? values : values.length;
    const { at } = this.bytes(length * 4);
    const view = new Int32Array(this.memory.buffer, at, length);
    if (typeof values !== 'number') view.set(values);
    return { at, view };
  }

  /** The upper halves of float32 values. */
  bfloat16(values: ArrayLike<number>): Tensor<Uint16Array> {
    const { at } = this.bytes(values.length * 2);
    const view = new Uint16Array(this.memory.buffer, at, values.length);
    view.set(new Uint32Array(Float32Array.from(values).buffer).map((bits) => bits >>> 16));
    return { at, view };
  }

  /** Quantizes x (rows, k) and returns the activation block. */
  quantized(x: ArrayLike<number>, rows: number, k: number): Pointer {
    const a = this.bytes(this.kernels.activationBytes(rows, k));
    this.kernels.quantizeRows(this.floats(x).at, rows, k, a.at);
    return a.at;
  }
}

export function kernelModule(build: KernelBuild): WebAssembly.Module {
  return new WebAssembly.Module(readFileSync(new URL(`../../build/kernels.${build}.wasm`, import.meta.url)));
}

const simd = new Workbench('simd');
const benches = { relaxed: relaxedBench() ?? simd, simd };

/** For `describe.each`: one row for each build that the service would use here. */
export const BUILDS: readonly KernelBuild[] = benches.relaxed === simd ? ['simd'] : ['relaxed', 'simd'];

/** Undefined where the engine computes that build wrong: nothing runs on it there. */
function relaxedBench(): Workbench | undefined {
  try {
    return new Workbench('relaxed');
  } catch (error) {
    if (error instanceof KernelProbeError) return undefined;
    throw error;
  }
}

/** The bench of a build, emptied; of the plain one where there is no other. */
export function emptyWorkbench(build: KernelBuild): Workbench {
  benches[build].reset();
  return benches[build];
}

/** Runs `compute` on both builds, twice on the plain one where there is no other. */
export function onBoth<Result>(compute: (bench: Workbench) => Result): { relaxed: Result; simd: Result } {
  return { relaxed: compute(emptyWorkbench('relaxed')), simd: compute(emptyWorkbench('simd')) };
}
