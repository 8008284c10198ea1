/**
 * The WASM kernels as the transformer sees them: typed exports of `assembly/index.ts`, and the choice between the two
 * builds of that one source.
 *
 * The relaxed-SIMD build is faster but its instructions are allowed to differ between engines. It is therefore not
 * chosen by its presence but by its results: a probe runs every path of it and compares with plain numbers
 * (kernel-probe.ts). Engines recompile hot code, so the probe runs again later.
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
    const { kernel, rows, row, column, expected, actual } = mismatch;
    const place = `${kernel} of ${rows} rows, row ${row} column ${column}`;
    super(`kernels (${build}): ${place}: expected ${expected}, got ${actual}`);
  }
}

/**
 * Instantiates the faster build that works here on `memory`. Call it before anything is allocated: the probe overwrites
 * PROBE_BYTES from `heapBase` on, for which the memory has to have room.
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

/**
 * Kernels that still compute right: those given, or the plain build on the same memory, which has the same layout.
 * @param start of PROBE_BYTES that are overwritten
 * @throws KernelProbeError when the plain build computes wrong results.
 */
export function confirmKernels(
  kernels: Kernels,
  modules: KernelModules,
  memory: WebAssembly.Memory,
  start: Pointer,
): Kernels {
  const mismatch = probe(kernels, memory, start);
  if (mismatch === null) return kernels;
  if (kernels.build === 'simd') throw new KernelProbeError('simd', mismatch);
  return instantiateBuild('simd', modules.simd, memory, start);
}

/** Instantiates and probes one build, from `heapBase` on unless given; see `instantiateKernels`. */
export function instantiateBuild(
  build: KernelBuild,
  module: WebAssembly.Module,
  memory: WebAssembly.Memory,
  start?: Pointer,
): Kernels {
  const kernels = instantiateUnprobed(build, module, memory);
  const mismatch = probe(kernels, memory, start ?? kernels.heapBase);
  if (mismatch !== null) throw new KernelProbeError(build, mismatch);
  return kernels;
}

/** One build, whatever it computes. */
export function instantiateUnprobed(
  build: KernelBuild,
  module: WebAssembly.Module,
  memory: WebAssembly.Memory,
): Kernels {
  const { exports } = new WebAssembly.Instance(module, { env: { memory } });
  const heapBase = (exports.heapBase as WebAssembly.Global).value as Pointer;
  return { ...(exports as unknown as KernelExports), build, heapBase };
}
