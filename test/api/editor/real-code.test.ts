/**
 * The editor rules on real code: holes are cut into this project's own sources, and filled with the original text.
 * Rules that only see text are sometimes wrong; the bounds say how often.
 */
import { globSync, readFileSync } from 'node:fs';
import { typescriptLanguage } from '@codemirror/lang-javascript';
import { pythonLanguage } from '@codemirror/lang-python';
import { describe, expect, it } from 'vitest';
import { showable, showableEnd } from '../../../src/api/editor/showable.ts';
import { uniform } from '../../../src/diffusion/random.ts';

const FILES = globSync(['src/**/*.ts', 'assembly/*.ts', 'training/*.py'], {
  cwd: new URL('../../..', import.meta.url),
}).sort();
const HOLES_PER_FILE = 60;

/** More than a model generates at once, and more than most blocks have. */
const WRITTEN_LINES = 25;

const read = (file: string) => readFileSync(new URL(`../../../${file}`, import.meta.url), 'utf8');

interface Hole {
  prefix: string;
  middle: string;
  suffix: string;
}

/** Holes from somewhere in a line, to its end or to somewhere later in it. */
function holes(toEnd: boolean): Hole[] {
  return FILES.flatMap((file, f) => {
    const text = read(file);
    const lines = text.split('\n');
    return Array.from({ length: HOLES_PER_FILE }, (_, h): Hole[] => {
      const random = (kind: number, below: number) => Math.floor(uniform(f, h, kind) * below);
      const number = random(0, lines.length);
      const line = lines[number]!;
      const indent = line.length - line.trimStart().length;
      if (line.trim().length < 4) return [];
      const lineStart = lines.slice(0, number).join('\n').length + (number > 0 ? 1 : 0);
      const from = indent + random(1, line.length - indent);
      const to = toEnd ? line.length : from + 1 + random(2, line.length - from);
      const [start, end] = [lineStart + from, lineStart + to];
      return [{ prefix: text.slice(0, start), middle: text.slice(start, end), suffix: text.slice(end) }];
    }).flat();
  });
}

/** Share of the holes in which the rules make something else of `text` than what stood there. */
function wrongShare(some: readonly Hole[], text: (hole: Hole) => string): number {
  const told = some.filter(({ middle }) => middle.trim() !== '');
  const wrong = told.filter((hole) => {
    const atLineEnd = hole.suffix === '' || hole.suffix.startsWith('\n');
    return showable(text(hole), hole) !== (atLineEnd ? hole.middle.trimEnd() : hole.middle);
  });
  return wrong.length / told.length;
}

const nextLines = (suffix: string, count: number) =>
  suffix
    .split('\n')
    .slice(0, count + 1)
    .join('\n');

/** Lines with content, and the text before each in its file. */
function wholeLines(): { prefix: string; line: string; above: string }[] {
  return FILES.flatMap((file) => {
    const lines = read(file).split('\n');
    return lines.flatMap((line, at) => {
      const above = lines.slice(0, at).findLast((other) => other.trim() !== '');
      if (above === undefined || !/[\p{L}\p{N}].{3}/u.test(line) || line.trim() === above.trim()) return [];
      return [{ prefix: lines.slice(0, at).join('\n').concat('\n'), line: line.trimEnd(), above: above.trimEnd() }];
    });
  });
}

/**
 * Blocks as parsers find them, each with the text from its opening to the end of its file, and how much of that is the
 * block.
 */
function blocks(): { prefix: string; rest: string; length: number }[] {
  return FILES.flatMap((file) => {
    const isPython = file.endsWith('.py');
    const parser = isPython ? pythonLanguage.parser : typescriptLanguage.parser;
    const text = read(file);
    const found: { prefix: string; rest: string; length: number }[] = [];
    parser.parse(text).iterate({
      enter({ name, from, to }) {
        if (name !== (isPython ? 'Body' : 'Block') || text[from + 1] !== '\n') return;
        const lineEnd = text.indexOf('\n', to);
        // `} else {` continues, and a body in Python ends after its last line.
        if (lineEnd < 0 || !/^[\s)\]};,]*$/.test(text.slice(to, lineEnd))) return;
        const start = from + 1;
        found.push({ prefix: text.slice(0, start), rest: text.slice(start), length: lineEnd - start });
      },
    });
    return found;
  });
}

describe('real code', () => {
  const toEnd = holes(true);
  const within = holes(false);

  it('should be a good deal of it', () => {
    expect(toEnd.length).toBeGreaterThan(1000);
    expect(within.length).toBeGreaterThan(1000);
  });

  it('should be left as it is', () => {
    expect(wrongShare(toEnd, ({ middle }) => middle)).toBeLessThan(0.005);
    // Words that end by accident as the rest of the word at the cursor does (src/engine/word-join.ts).
    expect(wrongShare(within, ({ middle }) => middle)).toBeLessThan(0.04);
    const beforeNoWord = within.filter(({ suffix }) => !/^[\p{L}\p{M}\p{N}_$]/u.test(suffix));
    expect(beforeNoWord.length).toBeGreaterThan(100);
    expect(wrongShare(beforeNoWord, ({ middle }) => middle)).toBeLessThan(0.01);
  });

  it('should be shown without the lines below when a model continues with them', () => {
    for (const count of [1, 2, 3]) {
      const share = wrongShare(toEnd, ({ middle, suffix }) => middle + nextLines(suffix, count));
      expect(share).toBeLessThan(0.05);
    }
  });

  it('should be shown without the rest of the line when a model writes it again', () => {
    expect(wrongShare(within, ({ middle, suffix }) => middle + nextLines(suffix, 0))).toBeLessThan(0.2);
  });

  it('should end with its block when a model continues after it', () => {
    const opened = blocks().filter(({ rest, length }) => rest.slice(0, length).split('\n').length < WRITTEN_LINES);
    expect(opened.length).toBeGreaterThan(300);
    const wrong = opened.filter(({ prefix, rest, length }) => {
      const written = rest.split('\n').slice(0, WRITTEN_LINES).join('\n');
      return showable(written, { prefix, suffix: '' }) !== rest.slice(0, length).trimEnd();
    });
    expect(wrong.length / opened.length).toBeLessThan(0.03);
  });

  it('should not repeat the line above', () => {
    const lines = wholeLines();
    expect(lines.length).toBeGreaterThan(5000);
    // Lines of brackets and rulers may occur twice.
    const telling = lines.filter(({ above }) => /[\p{L}\p{N}]/u.test(above));
    const shown = telling.filter(({ prefix, above }) => showable(above, { prefix, suffix: '\n' }) !== '');
    expect(shown.map(({ above }) => above)).toEqual([]);
  });

  it('should not be shown when a model repeats it and repeats it', () => {
    const lines = wholeLines();
    const shown = lines.filter(
      ({ prefix, line }) => showable(Array(5).fill(line).join('\n'), { prefix, suffix: '\n' }) !== '',
    );
    expect(shown.length / lines.length).toBeLessThan(0.01);
  });

  it('should end where the shown text ends, and not before', () => {
    for (const hole of [...toEnd, ...within].filter((_, index) => index % 97 === 0)) {
      const text = hole.middle + nextLines(hole.suffix, 8);
      const whole = showable(text, hole);
      for (let length = 1; length <= text.length; length += 3) {
        const end = showableEnd(text.slice(0, length), hole);
        if (end !== undefined) expect(showable(text.slice(0, end), hole)).toBe(whole);
      }
    }
  });

  it('should only ever be cut at its end', () => {
    for (const { prefix, middle, suffix } of [...toEnd, ...within]) {
      const text = middle + nextLines(suffix, 2) + middle;
      expect(text.startsWith(showable(text, { prefix, suffix }))).toBe(true);
    }
  });
});
