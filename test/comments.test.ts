/** Comments wrap at 120 columns, in every language of the repository; the formatters leave comments as they are. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

const COLUMNS = 120;
const PATTERNS = ['*.ts', '*.js', '*.py', '*.sh', '*.css', '*.toml'];

/** A line that is a comment as a whole, also within a block. */
const COMMENT = /^\s*(?:\/\/|\/\*|\* |#)/;

/** An address cannot be wrapped. */
const ADDRESS = /https?:\/\/\S{60,}/;

describe('comments', () => {
  it('should not be wider than 120 columns', () => {
    const files = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', ...PATTERNS], {
      encoding: 'utf8',
    });
    const tooWide = files
      .split('\n')
      .filter((file) => file !== '')
      .flatMap((file) =>
        readFileSync(file, 'utf8')
          .split('\n')
          .map((line, index) => ({ line, place: `${file}:${index + 1}` })),
      )
      .filter(({ line }) => [...line].length > COLUMNS && COMMENT.test(line) && !ADDRESS.test(line));
    expect(tooWide.map(({ place }) => place)).toEqual([]);
  });
});
