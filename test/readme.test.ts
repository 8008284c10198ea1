/**
 * README.md: it stays short, each command has an expectation of a newcomer, and what it says of the bundled models is
 * what their files and the newest measurements say. Likewise figures of the pages under docs/.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseManifest } from '../src/weights/manifest.ts';
import { storedModelOf } from '../src/weights/stored-model.ts';
import { MODELS } from '../support/models-folder.ts';
import { commandsOf } from './newcomer/commands.ts';
import { EXPECTATIONS, expectationOf } from './newcomer/expectations.ts';

const MOST_LINES = 90;
const ROOT = join(MODELS, '..');
const readme = read('README.md');
const comparison = read('docs/comparison.md');
const results = read('bench/RESULTS.md');

/** The columns of the table of models. */
const COLUMNS: [string, number][] = [
  ['small', 0],
  ['nano', 1],
];

interface Config {
  diffusion: { canvas_width?: number; canvas_widths: number[]; prefix_tokens: number; suffix_tokens: number };
}

function read(file: string): string {
  return readFileSync(join(ROOT, file), 'utf8');
}

function configOf(model: string): Config {
  return JSON.parse(read(`models/${model}/config.json`)) as Config;
}

function storedModel(model: string) {
  return storedModelOf(parseManifest(read(`models/${model}/manifest.json`)), configOf(model));
}

/** The cells of a row of a table, without its head. */
function row(page: string, name: string): string[] {
  const line = page.split('\n').find((text) => text.startsWith(`| ${name} |`));
  return line?.split('|').slice(2, -1) ?? [];
}

/** The numbers of a text, in their order. */
const numbers = (text: string | undefined) =>
  [...(text ?? '').matchAll(/\d[\d,.]*/g)].map(([digits]) => Number(digits.replaceAll(',', '')));

/** The newest table of key strokes of `nano`; the first column is the median of the processor time in milliseconds. */
const keyStrokes = results.slice(results.indexOf('`npm run bench:typing`'));
const medianMs = (name: string) => numbers(row(keyStrokes, name)[0])[0]!;

describe('README.md', () => {
  it('should have at most 90 lines', () => {
    expect(readme.trimEnd().split('\n').length).toBeLessThanOrEqual(MOST_LINES);
  });

  it('should show no command that a newcomer does not run, and all that one runs', () => {
    const commands = commandsOf(readme);
    const expected = new Set(commands.map((command) => expectationOf(command)));
    expect(EXPECTATIONS.filter((expectation) => !expected.has(expectation))).toEqual([]);
  });

  it.each(COLUMNS)('should say the context and the slots of %s', (name, column) => {
    const { diffusion } = configOf(name);
    expect(numbers(row(readme, 'context in tokens')[column])).toEqual([
      diffusion.prefix_tokens,
      diffusion.suffix_tokens,
    ]);
    expect(numbers(row(readme, 'slots refined at once')[column])).toEqual([
      diffusion.canvas_width ?? Math.min(...diffusion.canvas_widths),
    ]);
  });

  it.each(COLUMNS)('should say the parameters of %s, to two digits', (name, column) => {
    const millions = storedModel(name).parameters! / 1e6;
    expect(numbers(row(readme, 'parameters')[column])[0]).toBe(Number(millions.toPrecision(2)));
  });

  it.each(COLUMNS)('should say the languages of %s', (name, column) => {
    const said = row(readme, 'languages')[column]!.toLowerCase().match(/\w+/g) ?? [];
    expect(said.filter((word) => word !== 'some').sort()).toEqual([...storedModel(name).languages].sort());
  });

  it('should say how often the default model is right as docs/diffusion.md does', () => {
    const [, coverage, precision] = row(read('docs/diffusion.md'), 'all').map((cell) => numbers(cell)[0]);
    expect(numbers(row(readme, 'right, of what an editor is shown')[0]).slice(0, 2)).toEqual([precision, coverage]);
  });

  it('should say the newest median of a key stroke', () => {
    const said = readme.match(/in (\d+) ms[^(]*\(`npm run bench:typing`\)/)?.[1];
    expect(Number(said)).toBe(Math.round(medianMs('warm')));
  });

  it('should only link to files that exist', () => {
    const links = [...readme.matchAll(/(?:\]\(|src(?:set)?=")([^)#"]+)/g)].map(([, link]) => link!);
    const local = links.filter((link) => !link.startsWith('http'));
    expect(local.length).toBeGreaterThan(10);
    for (const link of local) expect(() => readFileSync(join(ROOT, link)), link).not.toThrow();
  });
});

describe.each(['docs/api.md', 'docs/editors.md'])('%s', (page) => {
  it('should say the context of each model that it names', () => {
    const sentences = [...read(page).matchAll(/`(nano|small)` sees ([^.(]*)/g)];
    expect(sentences.length).toBeGreaterThan(0);
    for (const [, name, sentence] of sentences) {
      const { diffusion } = configOf(name!);
      expect(numbers(sentence), name).toEqual([diffusion.prefix_tokens, diffusion.suffix_tokens]);
    }
  });
});

describe('docs/comparison.md', () => {
  const [ownLatency, peersLatency] = row(comparison, 'latency');

  it('should say the newest medians of a key stroke, warm and cold', () => {
    expect(numbers(ownLatency).slice(0, 2)).toEqual([medianMs('warm'), medianMs('cold')].map(Math.round));
  });

  it("should say what was measured of llama.cpp's server", () => {
    const measured = results.match(/model of the same shape: (\d+) ms cold, (\d+) ms after a typed character/);
    expect(numbers(peersLatency).slice(0, 2)).toEqual([Number(measured?.[2]), Number(measured?.[1])]);
  });

  it('should say the memory that docs/deploy.md says', () => {
    const said = read('docs/deploy.md').match(/`nano` takes\s+about (\d+) MB for each process/)?.[1];
    expect(numbers(row(comparison, 'memory')[0])[0]).toBe(Number(said));
  });
});
