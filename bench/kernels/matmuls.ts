/**
 * The matrix products that the benchmarks time, one cell per shape and row count. There is no clock here: they run in
 * Node (kernels.ts) and inside workerd (workerd/worker.ts).
 */

import type { Pointer } from '../../src/denoiser/transformer/kernel-exports.ts';
import { instantiateBuild, type KernelBuild, type Kernels } from '../../src/denoiser/transformer/kernels.ts';
import { BLOCK_TOKENS } from '../../src/denoiser/transformer/pointers.ts';
import { median, quantile } from '../statistics.ts';

export interface MatmulCell {
  readonly build: KernelBuild;
  readonly weights: 'u4' | 'u7';
  readonly n: number;
  readonly k: number;
  readonly rows: number;
}

export interface MatmulRow extends MatmulCell {
  /** GMAC/s. */
  readonly median: number;
  readonly p90: number;
}

const SHAPES = [
  { n: 512, k: 512 },
  { n: 2048, k: 512 },
] as const;
const ROWS = [1, 8, 16, 32, 64] as const;
export const BUILDS: readonly KernelBuild[] = ['relaxed', 'simd'];
const PAGES = 512;
/** 1/64 as bfloat16. */
const SCALE_BITS = 0x3c80;
/**
 * A memory with operands: random bits for integer kernels, whose time does not depend on them, small floats for others.
 */
export class Operands {
  readonly kernels: Kernels;
  private readonly memory = new WebAssembly.Memory({ initial: PAGES });
  private end: Pointer;

  constructor(build: KernelBuild, module: WebAssembly.Module) {
    this.kernels = instantiateBuild(build, module, this.memory);
    this.end = this.kernels.heapBase;
  }

  bytes(length: number): Pointer {
    const at = this.end;
    this.end += (length + 63) & -64;
    return at;
  }

  floats(length: number): Pointer {
    const at = this.bytes(length * 4);
    new Float32Array(this.memory.buffer, at, length).forEach((_, i, values) => {
      values[i] = Math.sin(i * 7.13 + 1);
    });
    return at;
  }

  ints(length: number, value: number): Pointer {
    const at = this.bytes(length * 4);
    new Int32Array(this.memory.buffer, at, length).fill(value);
    return at;
  }

  /** A table of pages with the keys and values of one head for `tokens` tokens. */
  pages(tokens: number, headDim: number): Pointer {
    const count = Math.ceil(tokens / BLOCK_TOKENS);
    const table = this.ints(count, 0);
    const pages = Uint32Array.from({ length: count }, () => this.bytes(this.kernels.blockBytes(headDim)));
    new Uint32Array(this.memory.buffer, table, count).set(pages);
    return table;
  }

  quantized(rows: number, k: number): Pointer {
    const a = this.bytes(this.kernels.activationBytes(rows, k));
    this.kernels.quantizeRows(this.floats(rows * k), rows, k, a);
    return a;
  }

  /** A packed 4-bit matrix of random weights. */
  packedU4(n: number, k: number): Pointer {
    const at = this.bytes(this.kernels.packedU4Bytes(n, k));
    const weights = this.packed((n * k) / 2, 0);
    const scales = this.bytes((n * k) / 16);
    new Uint16Array(this.memory.buffer, scales, (n * k) / 32).fill(SCALE_BITS);
    this.kernels.packU4(weights, n, k, 0, at);
    this.kernels.packU4Scales(scales, n, k, 0, at);
    return at;
  }

  /** A packed 7-bit matrix of random weights. */
  packedU7(n: number, k: number): Pointer {
    return this.packed(this.kernels.packedU7Bytes(n, k), n);
  }

  /** Random 6-bit bytes, float32 scales at the end. */
  private packed(bytes: number, scales: number): Pointer {
    const at = this.bytes(bytes);
    new Uint8Array(this.memory.buffer, at, bytes).forEach((_, i, values) => {
      values[i] = (Math.imul(i, 2654435761) >>> 13) & 0x3f;
    });
    new Float32Array(this.memory.buffer, at + bytes - scales * 4, scales).fill(1 / 64);
    return at;
  }
}

/** Every cell with the product to run, on its own operands. */
export function matmulCells(modules: Readonly<Record<KernelBuild, WebAssembly.Module>>): {
  readonly cell: MatmulCell;
  readonly run: () => void;
}[] {
  return BUILDS.flatMap((build) =>
    SHAPES.flatMap(({ n, k }) =>
      ROWS.flatMap((rows) => {
        const operands = new Operands(build, modules[build]);
        const { kernels } = operands;
        const [a, y] = [operands.quantized(rows, k), operands.bytes(rows * n * 4)];
        const [u4, u7] = [operands.packedU4(n, k), operands.packedU7(n, k)];
        const run4 = () => kernels.matmulU4(a, rows, k, u4, n, y, 0);
        const run7 = () => kernels.matmulU7(a, rows, k, u7, n, y, n);
        return [
          { cell: { build, n, k, rows, weights: 'u4' as const }, run: run4 },
          { cell: { build, n, k, rows, weights: 'u7' as const }, run: run7 },
        ];
      }),
    ),
  );
}

/** @param samples milliseconds of CPU time a run */
export function matmulRow(cell: MatmulCell, samples: readonly number[]): MatmulRow {
  const gmacs = (cell.rows * cell.n * cell.k) / 1e6;
  return { ...cell, median: gmacs / median(samples), p90: gmacs / quantile(samples, 0.1) };
}

/** The rows as text: one line a shape, one column a row count, median/p90. */
export function formatMatmuls(rows: readonly MatmulRow[]): string {
  const lines = [`${'GMAC/s, median/p90'.padEnd(24)}${ROWS.map((m) => `M=${m}`.padStart(13)).join('')}`];
  for (const build of BUILDS) {
    for (const weights of ['u4', 'u7']) {
      for (const { n, k } of SHAPES) {
        const cells = rows.filter(
          (row) => row.build === build && row.weights === weights && row.n === n && row.k === k,
        );
        const columns = cells.map((cell) => `${cell.median.toFixed(1)}/${cell.p90.toFixed(1)}`.padStart(13));
        lines.push(`${`${build} ${weights} ${n}x${k}`.padEnd(24)}${columns.join('')}`);
      }
    }
  }
  return lines.join('\n');
}
