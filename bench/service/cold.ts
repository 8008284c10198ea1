/**
 * Cold start and memory: a new workerd process, weights in object storage, one completion. Measures milliseconds to the
 * first byte of the response, and the growth of the process's memory.
 *
 * Run: `npm run bench:cold`, or `node bench/service/cold.ts [runs]` after `npm run build:worker` (Linux, Node 24 or
 * later). The storage is on this machine, so network time is not included. Models: the bundled ones, and one with
 * random weights, of 122 million parameters.
 */

import { cpSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseConfig } from '../../src/denoiser/three-stream/config.ts';
import { planMemory } from '../../src/denoiser/three-stream/memory.ts';
import { instantiateBuild } from '../../src/denoiser/transformer/kernels.ts';
import { DEFAULT_CACHE_BYTES } from '../../src/engine/three-stream/model.ts';
import { MODELS } from '../../support/models-folder.ts';
import { writeRandomModel } from '../model/random-model.ts';
import { processorMsOfProcess } from '../processor-time.ts';
import { median } from '../statistics.ts';
import { serveObjects } from './object-storage.ts';
import { memoryOf, startWorkerd, type WorkerdProcess } from './workerd-process.ts';

const LARGE = 'large';
const RUNS = 5;
const PROMPT = { prompt: 'const fs = ', suffix: ';\n', max_tokens: 8, stream: true };
const MIB = 2 ** 20;

export interface ColdRow {
  readonly model: string;
  readonly weightsMib: number;
  /** Wall-clock milliseconds from the request to the first byte of the response: cold, and for the second request. */
  readonly coldMs: number;
  readonly warmMs: number;
  /** CPU milliseconds of the process from its start to the end of the first response. */
  readonly cpuMs: number;
  readonly wasmMib: number;
  /** Growth of the resident memory from before the first request: to afterwards, and to its peak. */
  readonly residentMib: number;
  readonly peakMib: number;
}

/** A workerd process whose isolate has not handled a completion yet, its weights in object storage. */
async function startProcess(folder: string, model: string, storage: string): Promise<WorkerdProcess> {
  const environment = {
    MODEL: model,
    S3_ENDPOINT: storage,
    S3_ACCESS_KEY_ID: 'none',
    S3_SECRET_ACCESS_KEY: 'none',
  };
  return startWorkerd({ folder, models: folder, environment });
}

/** Milliseconds to the first byte; reads the answer to its end. */
async function firstByte(url: string, model: string): Promise<number> {
  const start = performance.now();
  const response = await fetch(`${url}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ ...PROMPT, model }),
  });
  if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
  const reader = response.body!.getReader();
  await reader.read();
  const elapsed = performance.now() - start;
  while (!(await reader.read()).done);
  return elapsed;
}

async function measureOnce(folder: string, model: string, storage: string) {
  const { child, url } = await startProcess(folder, model, storage);
  try {
    const before = await memoryOf(child.pid!);
    const coldMs = await firstByte(url, model);
    const after = await memoryOf(child.pid!);
    const cpuMs = processorMsOfProcess(child.pid!);
    const warmMs = await firstByte(url, model);
    return {
      coldMs,
      warmMs,
      cpuMs,
      residentMib: after.resident - before.resident,
      peakMib: after.peak - before.resident,
    };
  } finally {
    child.kill('SIGKILL');
  }
}

/** The memory that the denoiser of a config takes with the default cache. */
export async function wasmMibOf(configPath: string): Promise<number> {
  const module = new WebAssembly.Module(await readFile(new URL('../../build/kernels.relaxed.wasm', import.meta.url)));
  const kernels = instantiateBuild('relaxed', module, new WebAssembly.Memory({ initial: 1 }));
  const config = parseConfig(JSON.parse(await readFile(configPath, 'utf8')));
  return planMemory(kernels, config, kernels.heapBase, DEFAULT_CACHE_BYTES).bytes / MIB;
}

export async function benchCold(runs = RUNS): Promise<ColdRow[]> {
  const folder = await mkdtemp(join(tmpdir(), 'quicksilver-cold-'));
  const storage = await serveObjects(folder);
  try {
    for (const model of ['nano', 'small']) cpSync(join(MODELS, model), join(folder, model), { recursive: true });
    await writeRandomModel(join(folder, LARGE), LARGE, LARGE);
    const rows: ColdRow[] = [];
    for (const model of ['nano', 'small', LARGE]) {
      const samples: Awaited<ReturnType<typeof measureOnce>>[] = [];
      for (let run = 0; run < runs; run++) samples.push(await measureOnce(folder, model, storage.url));
      const of = (key: keyof Awaited<ReturnType<typeof measureOnce>>) => median(samples.map((sample) => sample[key]));
      const manifest = JSON.parse(await readFile(join(folder, model, 'manifest.json'), 'utf8'));
      const weights = manifest.files.find(({ path }: { path: string }) => path === 'model.safetensors');
      rows.push({
        model,
        weightsMib: weights.size / MIB,
        coldMs: of('coldMs'),
        warmMs: of('warmMs'),
        cpuMs: of('cpuMs'),
        wasmMib: await wasmMibOf(join(folder, model, 'config.json')),
        residentMib: of('residentMib'),
        peakMib: of('peakMib'),
      });
    }
    return rows;
  } finally {
    await storage.close();
    await rm(folder, { recursive: true, force: true });
  }
}

export function formatCold(rows: readonly ColdRow[]): string {
  const header = ['cold start', 'weights', 'first byte cold', 'warm', 'CPU', 'WASM', 'resident', 'peak'];
  const lines = rows.map((row) => [
    row.model,
    `${row.weightsMib.toFixed(1)} MiB`,
    `${row.coldMs.toFixed(0)} ms`,
    `${row.warmMs.toFixed(0)} ms`,
    `${row.cpuMs.toFixed(0)} ms`,
    `${row.wasmMib.toFixed(1)} MiB`,
    `+${row.residentMib.toFixed(1)} MiB`,
    `+${row.peakMib.toFixed(1)} MiB`,
  ]);
  return [header, ...lines].map((cells) => cells.map((cell) => cell.padStart(16)).join('')).join('\n');
}

if (import.meta.main) {
  const rows = await benchCold(Number(process.argv[2] ?? RUNS));
  console.log(`${formatCold(rows)}\n`);
  console.log(JSON.stringify({ cold: rows }));
}
