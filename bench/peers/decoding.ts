/**
 * Diffusion against autoregressive decoding with the same weights, kernels and cached context: the cost of a step of n
 * slots in single tokens, and whole completions of at most n tokens, as a client gets them.
 */

import { readFileSync } from 'node:fs';
import type { Engine, GenerateRequest } from '../../src/engine/types.ts';
import { complete, openBundledEngine } from '../engine.ts';
import { withProcessorMs } from '../processor-time.ts';
import { median } from '../statistics.ts';

const LENGTHS = [8, 16, 32] as const;
/** Places of a file, each with this many characters on either side. */
const PLACES = 8;
const CHARACTERS = 900;

export interface DecodingRow {
  readonly maxTokens: number;
  /** Of a completion, medians over places and rounds; the prompt is cached. */
  readonly diffusionMs: number;
  readonly autoregressiveMs: number;
  /**
   * Of all completions together: CPU time of diffusion over that of autoregressive decoding, and the same per token.
   */
  readonly ratio: number;
  readonly ratioPerToken: number;
  readonly diffusionTokens: number;
  readonly autoregressiveTokens: number;
  readonly steps: number;
}

interface Sample {
  ms: number;
  tokens: number;
  steps: number;
}

async function sample(engine: Engine, request: Pick<GenerateRequest, 'prefix' | 'suffix' | 'maxTokens' | 'decoding'>) {
  const [{ usage }, ms] = await withProcessorMs(() => complete(engine, request));
  return { ms, tokens: usage.completionTokens, steps: usage.steps };
}

const sum = (samples: readonly Sample[], of: (sample: Sample) => number) => samples.reduce((s, x) => s + of(x), 0);

export async function benchDecoding(rounds: number): Promise<DecodingRow[]> {
  const engine = await openBundledEngine();
  const text = readFileSync(new URL('../../src/denoiser/three-stream/forward.ts', import.meta.url), 'utf8');
  const distance = Math.floor((text.length - 2 * CHARACTERS) / PLACES);
  const places = Array.from({ length: PLACES }, (_, i) => CHARACTERS + i * distance);
  const rows: DecodingRow[] = [];
  for (const maxTokens of LENGTHS) {
    const found: Record<'diffusion' | 'autoregressive', Sample[]> = { diffusion: [], autoregressive: [] };
    for (let round = 0; round < rounds; round++) {
      for (const cursor of places) {
        const prompt = {
          prefix: text.slice(cursor - CHARACTERS, cursor),
          suffix: text.slice(cursor, cursor + CHARACTERS),
        };
        for (const decoding of ['diffusion', 'autoregressive'] as const) {
          // Autoregressive decoding has no suffix. The first run fills the cache and is not counted.
          const suffix = decoding === 'diffusion' ? prompt.suffix : '';
          await sample(engine, { ...prompt, suffix, maxTokens, decoding });
          found[decoding].push(await sample(engine, { ...prompt, suffix, maxTokens, decoding }));
        }
      }
    }
    const { diffusion, autoregressive } = found;
    const ratio = sum(diffusion, ({ ms }) => ms) / sum(autoregressive, ({ ms }) => ms);
    const tokens = (samples: Sample[]) => sum(samples, (x) => x.tokens) / samples.length;
    rows.push({
      maxTokens,
      diffusionMs: median(diffusion.map(({ ms }) => ms)),
      autoregressiveMs: median(autoregressive.map(({ ms }) => ms)),
      ratio,
      ratioPerToken: (ratio * tokens(autoregressive)) / tokens(diffusion),
      diffusionTokens: tokens(diffusion),
      autoregressiveTokens: tokens(autoregressive),
      steps: sum(diffusion, ({ steps }) => steps) / diffusion.length,
    });
  }
  return rows;
}

export function formatDecoding(rows: readonly DecodingRow[]): string {
  const lines = rows.map((row) => {
    const cells = [
      `${row.diffusionMs.toFixed(1)} ms, ${row.diffusionTokens.toFixed(1)} tokens in ${row.steps.toFixed(1)} steps`,
      `${row.autoregressiveMs.toFixed(1)} ms, ${row.autoregressiveTokens.toFixed(1)} tokens`,
      `${row.ratio.toFixed(2)}× the time, ${row.ratioPerToken.toFixed(2)}× a token`,
    ];
    return `at most ${String(row.maxTokens).padStart(2)} tokens   diffusion ${cells[0]}   autoregressive ${cells[1]}   ${cells[2]}`;
  });
  return ['Completions with a cached prompt, CPU time', ...lines].join('\n');
}
