/** What the Markdown pages name is there: linked files and headings, npm scripts, and paths of the repository. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import packageJson from '../package.json' with { type: 'json' };

/** Tell of former states of the tree. */
const HISTORIES = ['CHANGELOG.md', 'bench/LOG.md', 'bench/RESULTS.md', 'training/LOG.md'];

const pages = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', '*.md'], {
  encoding: 'utf8',
})
  .split('\n')
  .filter((file) => file !== '' && !HISTORIES.includes(file) && existsSync(file));

/** The anchor of a heading on GitHub. */
function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
    .replaceAll(' ', '-');
}

function anchorsOf(text: string): string[] {
  return [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading]) => anchorOf(heading!));
}

/** Folders that are tracked, and not only named in a sentence about what one makes oneself. */
const PATH =
  /^(?:src|assembly|playground|scripts|support|bench|test|training|docs|examples|findings|deploy|models)\/[\w./-]+$/;

/** What commands write, or their placeholders. */
const WRITTEN = /^(?:models\/(?:NAME|mine)|training\/\.runs|training\/checkpoints)/;

describe.each(pages)('%s', (page) => {
  const text = readFileSync(page, 'utf8');

  it('should link to files and headings that exist', () => {
    const links = [...text.matchAll(/\]\(([^)\s]+)\)/g)].map(([, link]) => link!);
    const broken = links.filter((link) => {
      if (/^[a-z]+:/.test(link)) return false;
      const [file, anchor] = link.split('#');
      const target = file === '' ? page : join(dirname(page), file!);
      if (!existsSync(target)) return true;
      return anchor !== undefined && !anchorsOf(readFileSync(target, 'utf8')).includes(anchor);
    });
    expect(broken).toEqual([]);
  });

  it('should name npm scripts that exist', () => {
    const named = [...text.matchAll(/\bnpm run ([\w:-]+)/g)].map(([, name]) => name!);
    expect(named.filter((name) => !(name in packageJson.scripts))).toEqual([]);
  });

  it('should name paths that exist', () => {
    const code = [...text.matchAll(/`([^`\n]+)`/g)].map(([, inner]) => inner!);
    const paths = code.flatMap((words) => words.split(/[\s,]+/)).filter((word) => PATH.test(word));
    expect(paths.filter((path) => !existsSync(path) && !WRITTEN.test(path))).toEqual([]);
  });
});
