/** What README.md says of the bundled models, against their files; and that it stays short. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { MODELS } from '../support/models-folder.ts';

const MOST_LINES = 90;
const ROOT = join(MODELS, '..');
const readme = readFileSync(join(ROOT, 'README.md'), 'utf8');

interface Config {
  diffusion: { canvas_width?: number; canvas_widths: number[]; prefix_tokens: number; suffix_tokens: number };
}

/** The cells of a row of the table of models, without its head. */
function row(name: string): string[] {
  const line = readme.split('\n').find((text) => text.startsWith(`| ${name} |`));
  return line?.split('|').slice(2, -1) ?? [];
}

/** The numbers of a text, in their order. */
const numbers = (text: string | undefined) =>
  [...(text ?? '').matchAll(/\d[\d,.]*/g)].map(([digits]) => Number(digits.replaceAll(',', '')));

describe('README.md', () => {
  it('should have at most 90 lines', () => {
    expect(readme.trimEnd().split('\n').length).toBeLessThanOrEqual(MOST_LINES);
  });

  it.each([
    ['nano', 0],
    ['small', 1],
  ])('should say the context and the slots of %s', (name, column) => {
    const { diffusion } = JSON.parse(readFileSync(join(MODELS, name, 'config.json'), 'utf8')) as Config;
    expect(numbers(row('context in tokens')[column])).toEqual([diffusion.prefix_tokens, diffusion.suffix_tokens]);
    expect(numbers(row('slots refined at once')[column])).toEqual([
      diffusion.canvas_width ?? Math.min(...diffusion.canvas_widths),
    ]);
  });

  it('should only link to files that exist', () => {
    const links = [...readme.matchAll(/(?:\]\(|src(?:set)?=")([^)#"]+)/g)].map(([, link]) => link!);
    const local = links.filter((link) => !link.startsWith('http'));
    expect(local.length).toBeGreaterThan(10);
    for (const link of local) expect(() => readFileSync(join(ROOT, link)), link).not.toThrow();
  });
});
