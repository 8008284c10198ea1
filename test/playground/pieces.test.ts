import { describe, expect, it } from 'vitest';
import { firstLine, firstWord } from '../../playground/src/editor/pieces.ts';

/** All pieces of a text, accepted one after the other. */
function pieces(text: string, first: (text: string) => string): string[] {
  const taken: string[] = [];
  for (let rest = text; rest !== ''; rest = rest.slice(taken.at(-1)!.length)) taken.push(first(rest));
  return taken;
}

describe('a completion', () => {
  it('should be accepted word by word', () => {
    expect(pieces("fs.readFile('größe', $x_1);\n  }", firstWord)).toEqual([
      ...['fs', '.', 'readFile', "('", 'größe', "',", ' $x_1', ');', '\n  }'],
    ]);
  });

  it('should be accepted to its end if only white space is left', () => {
    expect(pieces('a  \n', firstWord)).toEqual(['a', '  \n']);
  });

  it('should be accepted line by line, a line break with the line that it begins', () => {
    expect(pieces('a b\n  c\n\nd\n', firstLine)).toEqual(['a b', '\n  c', '\n', '\nd', '\n']);
  });
});
