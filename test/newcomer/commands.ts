/** The commands that README.md shows a newcomer, in their order. */

/** Blocks of these languages have commands; a block of an editor's configuration has lines to try as well. */
const BLOCK = /^```(sh|vim)\n([\s\S]*?)^```$/gm;

/** Code in the text that one can type into a shell. */
const INLINE = /`((?:npm|npx|node|curl|git|docker) [^`]+)`/g;

/** Lines of blocks, and code in the text that begins with a program. */
export function commandsOf(markdown: string): string[] {
  const blocks = [...markdown.matchAll(BLOCK)].map(({ index, 0: whole, 2: inner }) => ({
    index,
    end: index + whole.length,
    commands: splitCommands(inner!),
  }));
  const inline = [...markdown.matchAll(INLINE)]
    .filter(({ index }) => !blocks.some((block) => index > block.index && index < block.end))
    .map(({ index, 1: command }) => ({ index, commands: [command!] }));
  return [...blocks, ...inline].sort((one, other) => one.index - other.index).flatMap(({ commands }) => commands);
}

/** Lines without their comments; one that ends within single quotes continues in the next. */
function splitCommands(block: string): string[] {
  const commands: string[] = [];
  let open = '';
  for (const line of block.split('\n')) {
    open += open === '' ? line : `\n${line}`;
    if (open.split("'").length % 2 === 0) continue;
    const command = open.replace(/(^|\s+)#[^'\n]*$/, '').trim();
    if (command !== '') commands.push(command);
    open = '';
  }
  if (open.trim() !== '') throw new Error(`a command without its closing quote: ${open.trim()}`);
  return commands;
}
