/**
 * Memory of one isolate with `small` over thousands of requests of editors: one client, eight and thirty-two that type
 * in files of their own. V8 tells what the isolate has, the kernel the resident memory of the process. V8 may use what
 * the WASM memory leaves of the 128 MB of an isolate, and the process would end if it needed more.
 *
 * Run: `npm run bench:memory`, or `node bench/service/memory.ts [requests] [model]` after `npm run build:worker`
 * (Linux, Node 24 or later; needs the npm registry the first time). Prints a table, then a line of JSON.
 */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MODELS } from '../../support/models-folder.ts';
import { type KeyStroke, recordSession } from '../model/typing.ts';
import { heldOutPackages } from '../quality/held-out.ts';
import { table } from '../table.ts';
import { wasmMibOf } from './cold.ts';
import { Inspector, memoryOf, startWorkerd } from './workerd-process.ts';

const REQUESTS = 5_000;
/** Shares of all requests. */
const PHASES = [
  { clients: 1, share: 0.1 },
  { clients: 8, share: 0.2 },
  { clients: 32, share: 0.35 },
  { clients: 32, share: 0.35 },
];
/** Keys at one place of a file, see typing.ts. */
const KEYS_OF_A_PLACE = 48;
/** Few, so that thousands of requests finish. */
const TOKENS = 1;
const MIB = 2 ** 20;
const ISOLATE_MIB = 128;

interface Row {
  clients: number;
  /** Requests until now. */
  requests: number;
  failed: number;
  /** MiB of JavaScript objects, of the heap with what is free in it, of ArrayBuffers, of WASM memory, and resident. */
  objects: number;
  heap: number;
  buffers: number;
  wasm: number;
  resident: number;
  peak: number;
}

/** False when it is not answered. */
async function ask(url: string, client: number, { prefix, suffix }: KeyStroke): Promise<boolean> {
  try {
    const response = await fetch(`${url}/infill`, {
      method: 'POST',
      // Two clients with one name may replace each other's requests.
      headers: { 'content-type': 'application/json', 'user-agent': `client ${client}` },
      body: JSON.stringify({ input_prefix: prefix, input_suffix: suffix, n_predict: TOKENS }),
    });
    const text = await response.text();
    if (!response.ok) process.stderr.write(`${response.status} ${text}\n`);
    return response.ok;
  } catch (error) {
    process.stderr.write(`${error} ${(error as Error).cause ?? ''}\n`);
    return false;
  }
}

async function measure(requests: number, model: string): Promise<Row[]> {
  const folder = await mkdtemp(join(tmpdir(), 'quicksilver-memory-'));
  // Thirty-two cold files at once take long on a busy machine.
  const environment = { MODEL: model, TIME_LIMIT_MS: '600000' };
  const wasm = await wasmMibOf(join(MODELS, model, 'config.json'));
  const heapMib = Math.floor(ISOLATE_MIB - wasm);
  const service = await startWorkerd({ folder, models: MODELS, environment, isInspected: true, heapMib });
  try {
    const inspector = await Inspector.connect(service.inspectorPort);
    const rows: Row[] = [];
    const note = async (clients: number, done: number, failed: number) => {
      const { usedSize, totalSize, backingStorageSize } = await inspector.memory();
      const { resident, peak } = await memoryOf(service.child.pid!);
      const [objects, heap, buffers] = [usedSize / MIB, totalSize / MIB, backingStorageSize / MIB];
      rows.push({ clients, requests: done, failed, objects, heap, buffers, wasm, resident, peak });
      process.stderr.write(`${JSON.stringify(rows.at(-1))}\n`);
    };
    // Each client leaves a place unfinished at the end of a phase.
    const places = PHASES.reduce((sum, { clients, share }) => {
      return sum + Math.ceil((share * requests) / KEYS_OF_A_PLACE) + 2 * clients;
    }, 0);
    const strokes = recordSession(heldOutPackages('validation'), places * KEYS_OF_A_PLACE);
    let place = 0;
    let done = 0;
    let failed = 0;
    const hasEnded = () => service.child.exitCode !== null || service.child.signalCode !== null;
    await note(0, 0, 0);
    if (!(await ask(service.url, 0, strokes[0]!))) throw new Error('the service does not answer');
    await note(0, 1, 0);
    for (const { clients, share } of PHASES) {
      const end = done + Math.round(share * requests);
      const type = async (client: number) => {
        while (done < end && !hasEnded()) {
          const start = place++ * KEYS_OF_A_PLACE;
          if (start >= strokes.length) throw new Error('too few places were recorded');
          for (const stroke of strokes.slice(start, start + KEYS_OF_A_PLACE)) {
            if (done >= end || hasEnded()) return;
            done++;
            if (!(await ask(service.url, client, stroke))) failed++;
          }
        }
      };
      await Promise.race([Promise.all(Array.from({ length: clients }, (_, client) => type(client))), service.ended]);
      await note(clients, done, failed);
    }
    inspector.close();
    return rows;
  } finally {
    service.child.kill('SIGKILL');
    await rm(folder, { recursive: true, force: true });
  }
}

function format(rows: readonly Row[]): string {
  return table(
    rows.map((row) => ({
      clients: row.clients,
      requests: row.requests,
      failed: row.failed,
      'objects, MiB': row.objects.toFixed(1),
      heap: row.heap.toFixed(1),
      ArrayBuffers: row.buffers.toFixed(1),
      WASM: row.wasm.toFixed(1),
      'heap, buffers and WASM': (row.heap + row.buffers + row.wasm).toFixed(1),
      'process resident': row.resident.toFixed(1),
      peak: row.peak.toFixed(1),
    })),
  );
}

if (import.meta.main) {
  const [requests = REQUESTS, model = 'small'] = process.argv.slice(2);
  const rows = await measure(Number(requests), model);
  console.log(`${format(rows)}\n`);
  console.log(JSON.stringify({ memory: rows }));
}
