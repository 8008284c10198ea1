/** The fields of a completion request that routing to a backend needs, in any dialect. */
import * as z from 'zod';
import type { PromptText } from '../completion/completion.ts';
import { looseLengthFields } from '../completion/limits.ts';
import { decodingFields } from '../completion/schema.ts';
import type { Cursor } from '../editor/lines.ts';

/** Fields of the editor rules, which are applied here to the answer of any engine. */
export const EDITOR_FIELDS: ReadonlySet<string> = new Set(['editor']);

/**
 * How one engine, llama.cpp, is to do its work, whatever the answer: its time, its slots and its cache. Strict backends
 * refuse what they do not know. Fields that would change the answer stay, so that an engine that cannot honour them can
 * refuse them.
 */
export const ENGINE_FIELDS: ReadonlySet<string> = new Set([
  't_max_predict_ms',
  't_max_prompt_ms',
  'id_slot',
  'cache_prompt',
]);

/** Fields that only the local model knows. */
export const LOCAL_FIELDS: ReadonlySet<string> = new Set([
  'min_confidence',
  'diffusing',
  'decoding',
  'canvas_width',
  'freeze_after',
  'reuse',
  'max_steps',
  'deadline_ms',
  'reveal_threshold',
  'edit_threshold',
]);

const lengths = z.object(looseLengthFields);

type Fields = Readonly<Record<string, unknown>>;

/** Finds the text around the cursor in prompts that are sent with a suffix and stop strings. */
export type PromptReader = (suffix: string, stop: readonly string[]) => (prompt: string) => PromptText;

/** Prompts that only have the text before the cursor. */
export const plainPrompts: PromptReader = (suffix) => (text) => ({ text, prefix: text, suffix });

export class CompletionFields {
  readonly #fields: Fields;
  /** Undefined for prompts of token ids, whose text only their model knows. */
  readonly #prompts: readonly (PromptText | undefined)[];
  readonly #isEditor: boolean;

  /** @param editorInAddress whether the address asks for the editor rules */
  constructor(fields: Fields, readPrompts: PromptReader, editorInAddress: boolean) {
    this.#fields = fields;
    this.#isEditor = editorInAddress || fields.editor === true;
    const suffix = decodingFields.suffix.safeParse(fields.suffix ?? undefined).data ?? '';
    const stop = [fields.stop].flat().filter((text) => typeof text === 'string');
    const read = readPrompts(suffix, stop);
    const list: readonly unknown[] = Array.isArray(fields.prompt) ? fields.prompt : [fields.prompt];
    // A list of numbers is one prompt.
    const prompts = typeof list[0] === 'number' ? [list] : list;
    this.#prompts = prompts.map((prompt) => (typeof prompt === 'string' ? read(prompt) : undefined));
  }

  /** Whether there is text after the cursor, in a field of its own or between markers. */
  get hasSuffix(): boolean {
    return this.#prompts.some((prompt) => prompt !== undefined && prompt.suffix !== '');
  }

  /** Whether the text of a chunk replaces that of the chunk before. */
  get replaces(): boolean {
    const { stream, diffusing } = this.#fields;
    return stream === true && (diffusing === true || diffusing === 'canvas');
  }

  /** The smallest limit of the length, under any of its names; undefined if there is none. */
  get maxTokens(): number | undefined {
    // Below 0 a limit means as much as any model can write.
    const bounds = Object.values(lengths.parse(this.#fields)).filter((bound) => bound !== undefined && bound >= 0);
    return bounds.length > 0 ? Math.min(...(bounds as number[])) : undefined;
  }

  /** Where an editor will show the answer; undefined without the editor rules, and for several prompts. */
  get cursor(): Cursor | undefined {
    return this.#isEditor && this.#prompts.length === 1 ? this.#prompts[0] : undefined;
  }

  /** Finds the text around each choice, and the text before it with `echo`; undefined without the editor rules. */
  get editor(): ((choice: number) => { cursor: PromptText; echo: string } | undefined) | undefined {
    if (!this.#isEditor) return undefined;
    const { n, echo } = this.#fields;
    const perPrompt = typeof n === 'number' && n >= 1 ? n : 1;
    return (choice) => {
      const prompt = this.#prompts[Math.floor(choice / perPrompt)];
      return prompt && { cursor: prompt, echo: echo === true ? prompt.text : '' };
    };
  }
}
