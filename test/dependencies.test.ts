/** docs/dependencies.md has a line for each direct dependency, with the licence that its lock file has. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

interface Line {
  name: string;
  purpose: string;
  licence: string;
  upkeep: string;
}

interface Locked {
  license?: string;
  dependencies?: Record<string, string>;
  devDependencies?: Record<string, string>;
}

const LOCKS = ['.', 'bench', 'bench/peers'].map(
  (folder) => JSON.parse(readFileSync(`${folder}/package-lock.json`, 'utf8')).packages as Record<string, Locked>,
);
const REQUIREMENTS = ['test/requirements.txt', 'training/requirements.txt'];
const PYTHON_HEADING = /^## Of (Python's tests|training)$/m;

const text = readFileSync('docs/dependencies.md', 'utf8');
const pythonAt = PYTHON_HEADING.exec(text)!.index;
const [npmLines, pythonLines] = [linesOf(text.slice(0, pythonAt)), linesOf(text.slice(pythonAt))];

function linesOf(part: string): Line[] {
  return [...part.matchAll(/^\| `([^`]+)` \|(.*)\|(.*)\|(.*)\|$/gm)].map(([, name, ...cells]) => {
    const [purpose, licence, upkeep] = cells.map((cell) => cell.trim());
    return { name: name!, purpose: purpose!, licence: licence!, upkeep: upkeep! };
  });
}

/** Direct dependencies with the licences of their lock file. */
const npmPackages = LOCKS.flatMap((packages) => {
  const { dependencies, devDependencies } = packages['']!;
  return Object.keys({ ...dependencies, ...devDependencies }).map((name) => ({
    name,
    licence: packages[`node_modules/${name}`]!.license,
  }));
});

/** Names without the extras and the version. */
function requirementsOf(path: string): string[] {
  const lines = readFileSync(path, 'utf8').split('\n');
  return lines.filter((line) => /^\w/.test(line)).map((line) => /^[\w.-]+/.exec(line)![0]);
}

const byName = (one: string, other: string) => (one < other ? -1 : 1);

describe('docs/dependencies.md', () => {
  it('should have a line for each package of npm, and no other', () => {
    const names = npmLines.map(({ name }) => name).sort(byName);
    expect(names).toEqual(npmPackages.map(({ name }) => name).sort(byName));
  });

  it('should have a line for each package of Python under each of its files, and no other', () => {
    const names = pythonLines.map(({ name }) => name).sort(byName);
    expect(names).toEqual(REQUIREMENTS.flatMap(requirementsOf).sort(byName));
  });

  it.each(npmPackages)('should have the licence of $name', ({ name, licence }) => {
    expect(npmLines.find((line) => line.name === name)?.licence).toBe(licence);
  });

  it('should say of each what it is for, its licence and who keeps it up', () => {
    for (const { name, purpose, licence, upkeep } of [...npmLines, ...pythonLines]) {
      expect([name, purpose !== '', licence !== '', upkeep !== '']).toEqual([name, true, true, true]);
    }
  });
});
