/**
 * The matrix products inside workerd, where kernels pay for explicit bounds checks, and the same ones in Node.
 *
 * Run: `npm run bench:workerd [-- rounds]` (Linux, Node 24 or later). GMAC/s (10^9 multiply-accumulates a second) of
 * CPU time on one core. Clocks inside workerd advance in steps of a millisecond, so the time comes from the operating
 * system. Cells are interleaved round by round, each cell in workerd and directly afterwards in Node.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bundleWith } from '../../../scripts/wrangler.ts';
import { benchModules } from '../../engine.ts';
import { processorMs, processorMsOfThreads } from '../../processor-time.ts';
import { median } from '../../statistics.ts';
import { formatMatmuls, type MatmulCell, type MatmulRow, matmulCells, matmulRow } from '../matmuls.ts';
import { startWorkerd } from './process.ts';

const CONFIG = fileURLToPath(new URL('./wrangler.toml', import.meta.url));
/** Long enough for the optimizing compiler to have replaced the first code. */
const WARM_UP_MS = 100;
/** Of one sample: long, because the sample includes a few tenths of a millisecond for the request. */
const SAMPLE_MS = 100;
/** Before the speed of a cell is known. */
const FIRST_REPEATS = 20;

export interface RuntimeRow extends MatmulRow {
  readonly runtime: 'node' | 'workerd';
}

interface Contender {
  readonly runtime: RuntimeRow['runtime'];
  readonly cell: MatmulCell;
  /** Runs the product so many times; CPU milliseconds of all of them. */
  readonly time: (repeats: number) => Promise<number>;
  repeats: number;
  /** CPU milliseconds a run. */
  readonly samples: number[];
}

async function warmUp(contender: Contender): Promise<void> {
  let total = 0;
  let last = 0;
  for (contender.repeats = FIRST_REPEATS; total < WARM_UP_MS; contender.repeats *= 2) {
    last = await contender.time(contender.repeats);
    total += last;
  }
  contender.repeats = Math.max(1, Math.round((SAMPLE_MS / last) * (contender.repeats / 2)));
}

/** @param rounds samples of each cell in each runtime */
export async function benchWorkerd(rounds = 7): Promise<RuntimeRow[]> {
  const folder = await mkdtemp(join(tmpdir(), 'quicksilver-bench-workerd-'));
  try {
    await bundleWith(CONFIG, folder);
    // wrangler reads its environment when it is imported.
    const { unstable_readConfig } = await import('wrangler');
    const workerd = await startWorkerd(folder, unstable_readConfig({ config: CONFIG }).compatibility_date!);
    try {
      const contenders = matmulCells(benchModules()).flatMap(({ cell, run }, index): Contender[] => [
        {
          runtime: 'workerd',
          cell,
          time: async (repeats) => {
            const startMs = await processorMsOfThreads(workerd.pid);
            await workerd.get(`/run?cell=${index}&repeats=${repeats}`);
            return (await processorMsOfThreads(workerd.pid)) - startMs;
          },
          repeats: 1,
          samples: [],
        },
        {
          runtime: 'node',
          cell,
          time: async (repeats) => {
            const startMs = processorMs();
            for (let i = 0; i < repeats; i++) run();
            return processorMs() - startMs;
          },
          repeats: 1,
          samples: [],
        },
      ]);
      for (const contender of contenders) await warmUp(contender);
      for (let round = 0; round < rounds; round++) {
        for (const { time, repeats, samples } of contenders) samples.push((await time(repeats)) / repeats);
      }
      return contenders.map(({ runtime, cell, samples }) => ({ runtime, ...matmulRow(cell, samples) }));
    } finally {
      workerd.kill();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** A table for each runtime, and the speed of workerd relative to Node, median over all cells. */
export function formatWorkerd(rows: readonly RuntimeRow[]): string {
  const of = (runtime: RuntimeRow['runtime']) => rows.filter((row) => row.runtime === runtime);
  const [node, workerd] = [of('node'), of('workerd')];
  const ratio = median(workerd.map((row, index) => row.median / node[index]!.median));
  return [
    `workerd\n${formatMatmuls(workerd)}`,
    `Node ${process.version}\n${formatMatmuls(node)}`,
    `workerd over Node, median of all cells: ${ratio.toFixed(3)}`,
  ].join('\n\n');
}

if (import.meta.main) {
  const rows = await benchWorkerd(Number(process.argv[2] ?? 7));
  console.log(`${formatWorkerd(rows)}\n`);
  console.log(JSON.stringify({ node: process.version, matmuls: rows }));
}
