/**
 * Code from elsewhere in a project, put before the text of the file. What does not fit the context is cut where the engine
 * cuts, on the side far from the cursor: the file itself has precedence, then what comes last here.
 */

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
  const told = snippets.filter(({ text }) => text.trim() !== '');
  if (told.length === 0) return prefix;
  const before = told.map(({ path, text }) => `${heading(path)}${text.trimEnd()}\n\n`);
  return before.join('') + heading(path) + prefix;
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
