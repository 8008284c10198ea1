/**
 * Code from elsewhere in a project, put before the text of the file. The file has precedence, then the snippets that
 * come last here. A share of the context on the left is reserved for snippets; otherwise a file longer than the context
 * would leave no room for them.
 */
import type { Engine } from '../../engine/types.ts';
import { withLineFeeds } from '../completion/line-ends.ts';

/** Of the context on the left; llama.cpp leaves other files a quarter of its batch at least. */
const SNIPPET_SHARE = 1 / 4;

/**
 * Parts of the context by which the border between snippets and file moves: if it moved by single tokens, no key stroke
 * could reuse the cache of the last one.
 */
const WINDOW_STEPS = 8;

/** Text with more characters per token than this is not tokenized: it would be cut anyway. */
const CHARACTERS_PER_TOKEN = 16;

/** What text that was not read is counted as. */
const USUAL_CHARACTERS_PER_TOKEN = 3;

export interface Snippet {
  path?: string | undefined;
  text: string;
}

/** How a comment of one line begins and ends, by the extension of the file; elsewhere as in C. */
const COMMENTS: Readonly<Record<string, readonly [start: string, end: string]>> = {
  ...commentsOf(['# ', ''], 'py pyi rb sh bash zsh fish pl r jl yml yaml toml ini cfg conf nix ex exs tf mk cmake'),
  ...commentsOf(['-- ', ''], 'lua sql hs elm ada vhd'),
  ...commentsOf(['<!-- ', ' -->'], 'html htm xml svg vue svelte md'),
  ...commentsOf(['/* ', ' */'], 'css scss less'),
  ...commentsOf(['" ', ''], 'vim'),
  ...commentsOf(['; ', ''], 'clj lisp el scm asm'),
  ...commentsOf(['% ', ''], 'tex erl'),
};
const DEFAULT_COMMENT = ['// ', ''] as const;

/**
 * The prefix with the snippets before it, each under its path as a comment.
 * @param snippets least relevant first
 * @param path that of the file, when it is known: parts it from the snippets.
 */
export function withSnippets(prefix: string, snippets: readonly Snippet[], path?: string): string {
  const before = written(snippets);
  return before.length === 0 ? prefix : before.join('') + heading(path) + prefix;
}

/** Text for the left of the cursor, and how many tokens of its sources were left out (some are estimated). */
export interface LeftContext {
  text: string;
  /** All of it, before it was cut. */
  uncutPrefix: string;
  cutTokens: number;
}

/** The same, cut to the context of the model, so that its engine has nothing to cut. */
export function leftContext(
  prefix: string,
  snippets: readonly Snippet[],
  { model, vocabulary }: Pick<Engine, 'model' | 'vocabulary'>,
  path?: string,
): LeftContext {
  const before = written(snippets);
  const uncutPrefix = withSnippets(prefix, snippets, path);
  if (model.window === undefined || before.length === 0) return { text: uncutPrefix, uncutPrefix, cutTokens: 0 };
  const lengthOf = (text: string) => vocabulary.encode(text).length;
  // One is the token before a text that begins a document.
  const budget = model.window.prefixTokens - 1;
  const step = Math.ceil(budget / WINDOW_STEPS);
  const name = heading(path);

  const readPrefix = prefix.slice(-CHARACTERS_PER_TOKEN * budget);
  const prefixIds = vocabulary.encode(readPrefix);
  const own = Math.floor(budget * SNIPPET_SHARE);
  const left = budget - lengthOf(name) - Math.ceil(prefixIds.length / step) * step;
  const kept = lastLines(before, Math.max(own, left), lengthOf);
  const over = prefixIds.length - (budget - lengthOf(name) - lengthOf(kept));
  const file = over > 0 ? fromLineStart(vocabulary.decode(prefixIds.slice(Math.ceil(over / step) * step))) : prefix;
  const unread = prefix.length - readPrefix.length + before.join('').length - kept.length;
  return {
    text: kept + name + file,
    uncutPrefix,
    cutTokens: Math.max(0, prefixIds.length - lengthOf(file)) + Math.round(unread / USUAL_CHARACTERS_PER_TOKEN),
  };
}

/** Each snippet as it is put before the text; blank ones are left out. */
function written(snippets: readonly Snippet[]): string[] {
  return snippets
    .filter(({ text }) => text.trim() !== '')
    .map(({ path, text }) => `${heading(path)}${withLineFeeds(text).trimEnd()}\n\n`);
}

/** As many of the last lines as fit into `room` tokens, counted line by line. */
function lastLines(blocks: readonly string[], room: number, lengthOf: (text: string) => number): string {
  const lines = blocks
    .join('')
    .slice(-CHARACTERS_PER_TOKEN * room)
    .split(/(?<=\n)/);
  let used = 0;
  let first = lines.length;
  while (first > 0) {
    used += lengthOf(lines[first - 1]!);
    if (used > room) break;
    first--;
  }
  return lines.slice(first).join('').trimStart();
}

/** Without the end of a line at its beginning, unless that is all there is. */
function fromLineStart(text: string): string {
  const end = text.indexOf('\n');
  return end < 0 || end === text.length - 1 ? text.replace(/^\ufffd+/, '') : text.slice(end + 1);
}

function heading(path: string | undefined): string {
  if (path === undefined || path === '') return '';
  const extension = /\.(\w+)$/.exec(path)?.[1]?.toLowerCase() ?? '';
  const [start, end] = Object.hasOwn(COMMENTS, extension) ? COMMENTS[extension]! : DEFAULT_COMMENT;
  return `${start}${path.replaceAll(/\s/g, ' ')}${end}\n`;
}

function commentsOf(comment: readonly [string, string], extensions: string): Record<string, readonly [string, string]> {
  return Object.fromEntries(extensions.split(' ').map((extension) => [extension, comment]));
}
