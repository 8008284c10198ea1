/**
 * The WASM kernels as the transformer sees them: typed exports of `assembly/index.ts`, and the choice between the two
 * builds of that one source.
 *
 * The relaxed-SIMD build is faster but its instructions are allowed to differ between engines. It is therefore not
 * chosen by its presence but by its results: a probe multiplies extreme values on it and compares with plain integers
 * (kernel-probe.ts).
 */

import type { KernelExports, Pointer } from './kernel-exports.ts';
import { type ProbeMismatch, probe } from './kernel-probe.ts';

export type KernelBuild = 'relaxed' | 'simd';

/** The compiled builds. An engine that cannot compile relaxed SIMD leaves `relaxed` out. */
export interface KernelModules {
  readonly relaxed?: WebAssembly.Module | undefined;
  readonly simd: WebAssembly.Module;
}

export interface Kernels extends KernelExports {
  /** The build that the probe chose. */
  readonly build: KernelBuild;
  /** First byte that is the host's to allocate: the kernels keep their scratch below it. A multiple of 16. */
  readonly heapBase: Pointer;
}

/** A build computes wrong results on this machine. */
export class KernelProbeError extends Error {
  override readonly name = 'KernelProbeError';

  constructor(build: KernelBuild, mismatch: ProbeMismatch) {
    const { kernel, row, column, expected, actual } = mismatch;
    super(`kernels (${build}): ${kernel} row ${row} column ${column}: expected ${expected}, got ${actual}`);
  }
}

/**
 * Instantiates the faster build that works here on `memory`. Call it before anything is allocated: the probe overwrites
 * a few KiB from `heapBase` on, for which the memory has to have room.
 * @throws KernelProbeError when the plain build computes wrong results too; WebAssembly errors when it does not
 * instantiate.
 */
export function instantiateKernels(modules: KernelModules, memory: WebAssembly.Memory): Kernels {
  if (modules.relaxed !== undefined) {
    try {
      return instantiateBuild('relaxed', modules.relaxed, memory);
    } catch {
      // Not supported or not reliable here: use the plain build; `build` says which one is in use.
    }
  }
  return instantiateBuild('simd', modules.simd, memory);
}

/** Instantiates and probes one build; see `instantiateKernels`. */
export function instantiateBuild(build: KernelBuild, module: WebAssembly.Module, memory: WebAssembly.Memory): Kernels {
  const { exports } = new WebAssembly.Instance(module, { env: { memory } });
  const heapBase = (exports.heapBase as WebAssembly.Global).value as Pointer;
  const kernels: Kernels = { ...(exports as unknown as KernelExports), build, heapBase };
  const mismatch = probe(kernels, memory, heapBase);
  if (mismatch !== null) throw new KernelProbeError(build, mismatch);
  return kernels;
}
