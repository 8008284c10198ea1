/**
 * Edits in JSON text that keep every other byte: parsing and writing again would change numbers that a double cannot
 * represent, their notation, escapes and white space. https://www.rfc-editor.org/rfc/rfc8259 All functions take text
 * that `JSON.parse` has accepted.
 */

/** Offsets in the text: from the first character up to the one after the last. */
export interface Span {
  start: number;
  end: number;
}

/** A member of an object; its span is that of its value. */
export interface Member extends Span {
  /** Without quotes and escapes. */
  name: string;
  /** Offsets of the name with its quotes. */
  nameStart: number;
  nameEnd: number;
}

/** Text that replaces a span. */
export interface Edit extends Span {
  text: string;
}

/** Members of the object that begins at `at`, in their order; none when something else begins there. */
export function membersOf(text: string, at = 0): Member[] {
  let position = afterSpace(text, at);
  if (text[position] !== '{') return [];
  const members: Member[] = [];
  position = afterSpace(text, position + 1);
  while (text[position] === '"') {
    const nameStart = position;
    const nameEnd = afterString(text, nameStart);
    const start = afterSpace(text, afterSpace(text, nameEnd) + 1);
    const end = afterValue(text, start);
    members.push({ name: JSON.parse(text.slice(nameStart, nameEnd)) as string, nameStart, nameEnd, start, end });
    position = afterSpace(text, end);
    if (text[position] === ',') position = afterSpace(text, position + 1);
  }
  return members;
}

/** Elements of the array that begins at `at`; none when something else begins there. */
export function elementsOf(text: string, at: number): Span[] {
  let position = afterSpace(text, at);
  if (text[position] !== '[') return [];
  const elements: Span[] = [];
  position = afterSpace(text, position + 1);
  while (text[position] !== ']') {
    const end = afterValue(text, position);
    elements.push({ start: position, end });
    position = afterSpace(text, end);
    if (text[position] === ',') position = afterSpace(text, position + 1);
  }
  return elements;
}

/** Makes edits that do not overlap, given in any order. */
export function edited(text: string, edits: readonly Edit[]): string {
  let result = '';
  let position = 0;
  for (const edit of edits.toSorted((a, b) => a.start - b.start)) {
    result += text.slice(position, edit.start) + edit.text;
    position = edit.end;
  }
  return result + text.slice(position);
}

/** The object with another value for the members of that name, of which there may be several: readers take the last. */
export function withValue(text: string, name: string, value: unknown): string {
  const members = membersOf(text).filter((member) => member.name === name);
  return edited(
    text,
    members.map(({ start, end }) => ({ start, end, text: JSON.stringify(value) })),
  );
}

/** The object with another name for the members of that name. */
export function withName(text: string, name: string, other: string): string {
  const members = membersOf(text).filter((member) => member.name === name);
  return edited(
    text,
    // The colon is kept, and so is the white space around it.
    members.map(({ nameStart, nameEnd }) => ({ start: nameStart, end: nameEnd, text: JSON.stringify(other) })),
  );
}

/** The object without the members of those names; the same text when it has none of them. */
export function withoutMembers(text: string, names: ReadonlySet<string>): string {
  const members = membersOf(text);
  const kept = members.filter(({ name }) => !names.has(name));
  if (kept.length === members.length) return text;
  return `{${kept.map(({ nameStart, end }) => text.slice(nameStart, end)).join(',')}}`;
}

function afterSpace(text: string, at: number): number {
  let position = at;
  while (' \t\n\r'.includes(text[position] ?? 'x')) position++;
  return position;
}

function afterString(text: string, at: number): number {
  let position = at + 1;
  while (text[position] !== '"') position += text[position] === '\\' ? 2 : 1;
  return position + 1;
}

function afterValue(text: string, at: number): number {
  const first = text[at];
  if (first === '"') return afterString(text, at);
  let position = at;
  if (first !== '{' && first !== '[') {
    while (position < text.length && !',]} \t\n\r'.includes(text[position]!)) position++;
    return position;
  }
  let depth = 0;
  do {
    const character = text[position];
    if (character === '"') {
      position = afterString(text, position);
      continue;
    }
    if (character === '{' || character === '[') depth++;
    else if (character === '}' || character === ']') depth--;
    position++;
  } while (depth > 0);
  return position;
}
