/**
 * Answers of backends in the dialect of the request. Backends answer completions as OpenAI's API has them; what a
 * client asked beyond that is added to the text of each choice, and every other byte stays as the backend wrote it.
 */
import type { Translation } from '../../backend/attempt.ts';
import { type Edit, edited, elementsOf, type Member, membersOf } from '../../backend/json-text.ts';
import { lineEndOf, readSides, withLineEnds, withLineFeeds } from '../completion/line-ends.ts';
import type { Cursor } from '../editor/lines.ts';
import { showable } from '../editor/showable.ts';

export interface TranslationOptions {
  /** Each choice has its text as `message` and, in a stream, as `delta` too, where Mistral's clients read it. */
  mistral: boolean;
  /**
   * Each text is what an editor can show at the cursor of its choice; undefined where the text around it is not known.
   */
  editor?: ((choice: number) => { cursor: Cursor; echo: string } | undefined) | undefined;
  /** The text of a chunk replaces that of the chunk before, as with `diffusing: true`. */
  replaces: boolean;
}

/** A choice in the text of an answer. */
interface Choice {
  index: number;
  text: Member | undefined;
  finishReason: Member | undefined;
  members: readonly Member[];
}

/** Makes the translation of one answer; undefined if it would change nothing. */
export function translationOf(options: TranslationOptions): (() => Translation) | undefined {
  const { mistral, editor, replaces } = options;
  if (!mistral && editor === undefined && !replaces) return undefined;
  return () => new AnswerTranslation(options);
}

interface Shown {
  text: string;
  /** The rules of editors left something out. */
  isCut: boolean;
}

const NOTHING: Shown = { text: '', isCut: false };

class AnswerTranslation implements Translation {
  readonly #options: TranslationOptions;
  /** Text so far of the choices of a stream, and the last chunk of those that are held back. */
  readonly #texts = new Map<number, string>();
  readonly #held = new Map<number, string>();

  constructor(options: TranslationOptions) {
    this.#options = options;
  }

  whole(json: string): string {
    return this.#translated(json, 'message', (choice, said) =>
      this.#shown(choice.index, said, finishReasonIn(json, choice)),
    );
  }

  chunk(json: string): string | undefined {
    const choices = choicesOf(json);
    for (const { index, text } of choices) {
      if (text !== undefined) this.#texts.set(index, (this.#texts.get(index) ?? '') + stringIn(json, text));
    }
    if (this.#options.editor === undefined) return this.#translated(json, 'delta', this.#text);
    const isFinished = (choice: Choice) => finishReasonIn(json, choice) !== null;
    for (const choice of choices) {
      if (isFinished(choice)) this.#held.delete(choice.index);
      else this.#held.set(choice.index, json);
    }
    if (choices.length > 0 && !choices.some(isFinished)) return undefined;
    return this.#translated(json, 'delta', (choice) =>
      isFinished(choice) ? this.#shownAtEnd(choice.index, finishReasonIn(json, choice)) : NOTHING,
    );
  }

  rest(): string[] {
    const chunks = [...this.#held].map(([index, json]) =>
      this.#translated(json, 'delta', (choice) => (choice.index === index ? this.#shownAtEnd(index, null) : NOTHING)),
    );
    this.#held.clear();
    return chunks;
  }

  /** The text of a choice in a chunk: its own text or, where chunks replace each other, all of it. */
  #text = ({ index }: Choice, said: string): Shown => ({
    text: this.#options.replaces ? (this.#texts.get(index) ?? said) : said,
    isCut: false,
  });

  #shownAtEnd(index: number, finishReason: unknown): Shown {
    return this.#shown(index, this.#texts.get(index) ?? '', finishReason);
  }

  /** What an editor can show of a text, with the line ends of its file. */
  #shown(index: number, text: string, finishReason: unknown): Shown {
    const place = this.#options.editor?.(index);
    if (place === undefined) return { text, isCut: false };
    const { cursor, echo } = place;
    const lead = text.startsWith(echo) ? echo : '';
    const written = withLineFeeds(text.slice(lead.length));
    const shown = showable(written, readSides(cursor), finishReason === 'length' ? 'cut' : 'whole');
    return { text: lead + withLineEnds(shown, lineEndOf(cursor)), isCut: shown !== written };
  }

  #translated(json: string, part: 'message' | 'delta', textOf: (choice: Choice, said: string) => Shown): string {
    return edited(
      json,
      choicesOf(json).flatMap((choice): Edit[] => {
        if (choice.text === undefined) return [];
        const { start, end } = choice.text;
        const said = stringIn(json, choice.text);
        const { text, isCut } = textOf(choice, said);
        const literal = text === said ? json.slice(start, end) : JSON.stringify(text);
        return [
          { start, end, text: literal + this.#asMessage(choice, part, literal) },
          ...(isCut ? cutEnd(choice) : []),
        ];
      }),
    );
  }

  /** The further member of a choice that Mistral's clients read. */
  #asMessage({ members }: Choice, part: 'message' | 'delta', literal: string): string {
    if (!this.#options.mistral || members.some(({ name }) => name === 'message' || name === 'delta')) return '';
    const role = part === 'message' ? '"role":"assistant",' : '';
    return `,"${part}":{${role}"content":${literal}}`;
  }
}

/** Tokens that are not shown have no log-probabilities, and a text that was cut did not end by its limit. */
function cutEnd({ members }: Choice): Edit[] {
  return members.flatMap((member) => {
    if (member.name === 'logprobs') return [{ ...member, text: 'null' }];
    return member.name === 'finish_reason' ? [{ ...member, text: '"stop"' }] : [];
  });
}

function choicesOf(json: string): Choice[] {
  const choices = membersOf(json).findLast(({ name }) => name === 'choices');
  if (choices === undefined) return [];
  return elementsOf(json, choices.start).map(({ start }, position) => {
    const members = membersOf(json, start);
    const member = (name: string) => members.findLast((other) => other.name === name);
    const text = member('text');
    const index = member('index');
    return {
      index: index === undefined ? position : Number(json.slice(index.start, index.end)),
      // `null` means absent, and is kept.
      text: text !== undefined && json[text.start] === '"' ? text : undefined,
      finishReason: member('finish_reason'),
      members,
    };
  });
}

function stringIn(json: string, { start, end }: Member): string {
  return JSON.parse(json.slice(start, end)) as string;
}

function finishReasonIn(json: string, { finishReason }: Choice): unknown {
  const value: unknown = finishReason && JSON.parse(json.slice(finishReason.start, finishReason.end));
  return value === undefined || value === '' ? null : value;
}
