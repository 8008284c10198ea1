/**
 * A transformer in WASM memory: kernels, weights and scratch, and what every stream layout computes alike. Attention,
 * and with it which tokens see which, is the layout's (three-stream/, single-stream/).
 */

import { growMemory, rowOf } from './arena.ts';
import { Head } from './head.ts';
import type { Pointer } from './kernel-exports.ts';
import { confirmKernels, instantiateKernels, type KernelBuild, type KernelModules, type Kernels } from './kernels.ts';
import { finishLayer, projectLayer } from './layer.ts';
import type { LayerPointers, TransformerMemory } from './pointers.ts';
import { rotaryTable } from './rotary-table.ts';
import { projectionWidths, type TransformerShape } from './shape.ts';
import { loadWeights } from './weights.ts';

export interface TransformerParts {
  modules: KernelModules;
  /** Opens `model.safetensors`; called once. Chunks of the stream are taken over: their buffers are given back. */
  openWeights: () => Promise<ReadableStream<Uint8Array>>;
}

/** The memory of a stream layout, with its end: the size that the memory must have. */
export type MemoryPlan = TransformerMemory & { readonly bytes: number };

/**
 * Passes after which the kernels are probed again: engines recompile code as it becomes hot. A probe takes half a
 * millisecond.
 */
const PROBED_PASSES: readonly number[] = [1, 64, 512, 4096];

export class Transformer<Plan extends MemoryPlan = MemoryPlan> {
  readonly shape: TransformerShape;
  readonly memory: WebAssembly.Memory;
  readonly plan: Plan;
  readonly head: Head;
  /** Elements of a row of projected queries, of keys, and of `scratch.qkv`. */
  readonly queryWidth: number;
  readonly keyWidth: number;
  readonly qkvWidth: number;
  readonly #modules: KernelModules;
  #kernels: Kernels;
  #passes = 0;

  /**
   * Throws SafetensorsError, KernelProbeError, and what the weights stream fails with.
   * @param planMemory lays out the memory from `kernels.heapBase` on
   */
  static async load<Plan extends MemoryPlan>(
    shape: TransformerShape,
    { modules, openWeights }: TransformerParts,
    planMemory: (kernels: Kernels) => Plan,
  ): Promise<Transformer<Plan>> {
    const memory = new WebAssembly.Memory({ initial: 1 });
    const kernels = instantiateKernels(modules, memory);
    const plan = planMemory(kernels);
    growMemory(memory, plan.bytes);
    new Float32Array(memory.buffer, plan.rotaryTable).set(rotaryTable(shape));
    await loadWeights(await openWeights(), shape, kernels, plan, memory);
    return new Transformer(shape, modules, kernels, memory, plan);
  }

  private constructor(
    shape: TransformerShape,
    modules: KernelModules,
    kernels: Kernels,
    memory: WebAssembly.Memory,
    plan: Plan,
  ) {
    this.shape = shape;
    this.#modules = modules;
    this.#kernels = kernels;
    this.memory = memory;
    this.plan = plan;
    this.head = new Head(shape, () => this.#kernels, memory, plan);
    const { queryWidth, keyWidth, qkvWidth } = projectionWidths(shape);
    this.queryWidth = queryWidth;
    this.keyWidth = keyWidth;
    this.qkvWidth = qkvWidth;
  }

  get kernels(): Kernels {
    return this.#kernels;
  }

  get build(): KernelBuild {
    return this.kernels.build;
  }

  /**
   * Counts a pass. True when the kernels have been found to compute wrong results by now and are replaced: what earlier
   * passes have cached is then not to be used. Throws KernelProbeError when no build computes right.
   */
  endPass(): boolean {
    this.#passes++;
    if (!PROBED_PASSES.includes(this.#passes)) return false;
    const before = this.#kernels;
    // Room for row blocks of the weights, which are all loaded.
    this.#kernels = confirmKernels(before, this.#modules, this.memory, this.plan.staging);
    return this.#kernels !== before;
  }

  get memoryBytes(): number {
    return this.memory.buffer.byteLength;
  }

  /** `scratch.ids` → `scratch.hidden`: the residual stream begins. */
  embed(rows: number): void {
    const { scratch, embedding } = this.plan;
    const { vocabSize, hiddenSize } = this.shape;
    this.kernels.embedRows(scratch.ids, rows, embedding, vocabSize, hiddenSize, scratch.hidden);
  }

  /** `scratch.hidden` → `scratch.qkv`, neither normed nor rotated. */
  project(layer: LayerPointers, rows: number): void {
    projectLayer(this.kernels, this.shape, layer, this.plan.scratch, rows);
  }

  /** What attention has written to `scratch.attended` → `scratch.hidden`. */
  finish(layer: LayerPointers, rows: number): void {
    finishLayer(this.kernels, this.shape, layer, this.plan.scratch, rows);
  }

  /** Writes i32 values from row `firstRow` of `target` on. */
  writeInts(target: Pointer, firstRow: number, count: number, value: (row: number) => number): void {
    const ints = new Int32Array(this.memory.buffer, rowOf(target, firstRow, 1), count);
    for (let row = 0; row < count; row++) ints[row] = value(row);
  }

  /** The first rows of the residual stream, (rows, hidden): a view that is overwritten. */
  hiddenRows(rows: number): Float32Array {
    return new Float32Array(this.memory.buffer, this.plan.scratch.hidden, rows * this.shape.hiddenSize);
  }
}
