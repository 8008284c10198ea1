/**
 * One denoising step: how the predictions change a canvas. It reveals every slot whose confidence reaches the
 * threshold, at least one (Fast-dLLM, arXiv 2505.22618); edits revealed slots for which another token has become
 * confident; drops the slots after the end. Pure: it knows neither the network nor the clock.
 *
 * The model is trained to predict a slot as if all more confident slots took their best tokens
 * (training/pretrain/distill.py). So when tokens are sampled, a step reveals nothing that is less confident than a slot
 * that drew another token: the next step sees that one.
 *
 * With a constraint no step leaves a canvas that cannot become text: each slot chooses among the tokens that fit what
 * is decided, and of the choices of one step the more confident go first; one that does not fit them waits for the next
 * step.
 *
 * It terminates: each step reveals a slot, and a slot can only become undecided again when an end token before it is
 * edited, which is bounded per slot.
 */

import type { Predictions } from '../denoiser/transformer/predictions.ts';
import type { SpecialTokens } from '../tokenizer/tokenizer.ts';
import type { Canvas } from './canvas.ts';
import { bestChoice, boundChoice, type Choice, mostProbable, sampledChoice } from './choice.ts';
import { uniform } from './random.ts';
import type { ConstrainedCanvas, TextConstraint } from './text-constraint.ts';

export interface SamplerSettings {
  /** 0 takes the best token. */
  temperature: number;
  topP: number;
  seed: number;
  /** Probability at which a slot is revealed. */
  revealThreshold: number;
  /** Probability at which another token replaces a revealed one; 1 turns editing off. */
  editThreshold: number;
  maxEditsPerSlot: number;
  /** Number of most probable tokens to keep for each slot when it is revealed or edited; none when absent. */
  alternatives?: number;
  /**
   * Passes over a revealed slot after which it is frozen: it keeps its token and is not computed any more. At least 1.
   */
  freezeAfter: number;
  /** Tokens that are allowed on the canvas; all tokens when absent. */
  text?: TextConstraint;
}

export interface StepOptions {
  /** Number of the step in its request: seeds the draws of the step. */
  step: number;
  /** Slots that can still be emitted, from the first on; the others stay masks. */
  wanted: number;
  /** The step budget ends here: every slot takes its best token now. */
  final: boolean;
  /** The slots that the predictions are about, a row each; all of `canvas.tokens` when absent. */
  slots?: readonly number[];
  /** Tokens before the canvas, for the constraints. */
  written?: readonly number[];
  /** The text that binds the first tokens of a completion, if any. */
  cursor?: Binding | undefined;
  /** Tokens that the text after the cursor can begin with: the end takes their place at the leftmost undecided slot. */
  suffixStart?: ReadonlySet<number> | undefined;
}

/** The bytes that bind the first tokens of a completion, as in CursorToken. */
export interface Binding {
  /** The tokens that may follow the tokens of a completion; undefined when they are bound no longer. */
  agreeing(before: readonly number[]): ReadonlySet<number> | undefined;
  /** Whether a token has no other bytes than those that bind it. */
  isSilent(before: readonly number[], token: number): boolean;
}

/** Whether a decided slot of the canvas can no longer change. */
export function isSettled(canvas: Canvas, slot: number, settings: SamplerSettings): boolean {
  return !isEditable(canvas, slot, settings) || canvas.evaluationCount(slot) >= settings.freezeAfter;
}

function isEditable(canvas: Canvas, slot: number, { editThreshold, maxEditsPerSlot }: SamplerSettings): boolean {
  return editThreshold < 1 && canvas.editsOf(slot) < maxEditsPerSlot;
}

/**
 * Applies one step. The undecided slots are among the computed ones. A canvas without undecided slots can only be
 * edited.
 */
export function denoisingStep(
  canvas: Canvas,
  predictions: Predictions,
  settings: SamplerSettings,
  special: SpecialTokens,
  { slots = [...canvas.tokens.keys()], written = [], ...options }: StepOptions,
): void {
  const rows = new Map(slots.map((slot, row) => [slot, row]));
  const bound = findBound(canvas, predictions, settings, { ...options, rows, written });
  const text = settings.text?.on(bound.tokens, written, bound.count);
  const parts = { ...options, rows, text, bound };
  const proposed = findEdits(canvas, predictions, settings, special, parts);
  const reveals = bound.isOpen ? [] : findReveals(canvas, predictions, settings, special, parts);
  const edits = fittingEdits(text, proposed);
  const { alternatives = 0 } = settings;
  const maySay = (token: number) => mayBeSaid(token, special, settings.text);
  const others = (slot: number) =>
    alternatives > 0 ? mostProbable(predictions, rows.get(slot)!, alternatives, maySay) : [];
  canvas.recordEvaluation(slots);
  for (const { slot, choice, others } of bound.reveals) canvas.reveal(slot, choice, others);
  for (const [slot, choice] of reveals) canvas.reveal(slot, choice, others(slot));
  for (const [slot, choice] of edits) canvas.edit(slot, choice, others(slot));
  canvas.dropBehindEnd();
}

interface StepParts {
  /** Slot → row of the predictions. */
  rows: ReadonlyMap<number, number>;
  /** The canvas with what this step has decided so far. */
  text: ConstrainedCanvas | undefined;
  bound: BoundSlots;
}

/** The first slots of a completion, if the text at the cursor binds them. */
interface BoundSlots {
  /** Number of bound slots, including those that are revealed now: no other constraint applies to them. */
  readonly count: number;
  readonly reveals: readonly { slot: number; choice: Choice; others: readonly Choice[] }[];
  /** The next slot is bound as well, so later ones have to wait. */
  readonly isOpen: boolean;
  /** The canvas with the reveals. */
  readonly tokens: Int32Array;
}

/** Reveals the leftmost slot that is bound, however unsure; in the final step all that are. */
function findBound(
  canvas: Canvas,
  predictions: Predictions,
  settings: SamplerSettings,
  { step, wanted, final, rows, written = [], cursor }: Omit<StepOptions, 'slots'> & Pick<StepParts, 'rows'>,
): BoundSlots {
  const tokens = canvas.tokens.slice();
  const reveals: { slot: number; choice: Choice; others: readonly Choice[] }[] = [];
  const undecided = canvas.undecided(wanted);
  const before = [...written];
  let count = 0;
  let agreeing = cursor?.agreeing(before);
  for (; agreeing !== undefined && count < tokens.length; count++) {
    if (canvas.isUndecided(count)) {
      if (!undecided.includes(count) || (reveals.length > 0 && !final)) break;
      const text = settings.text?.on(tokens, written, count);
      const fitting = [...agreeing].filter(
        (token) => cursor!.isSilent(before, token) || (text?.permits(count, token) ?? true),
      );
      const draw = () => uniform(settings.seed, step, count);
      reveals.push({ slot: count, ...boundChoice(predictions, rows.get(count)!, fitting, settings, draw) });
      tokens[count] = reveals.at(-1)!.choice.token;
    }
    before.push(tokens[count]!);
    agreeing = cursor?.agreeing(before);
  }
  return { count, reveals, isOpen: agreeing !== undefined, tokens };
}

/** The reveals of the step, which are decided on `text` when it returns. */
function findReveals(
  canvas: Canvas,
  predictions: Predictions,
  settings: SamplerSettings,
  special: SpecialTokens,
  { step, wanted, final, rows, text, bound, suffixStart }: StepOptions & StepParts,
): [slot: number, Choice][] {
  const isBound = bound.reveals.length > 0;
  // A drawn token may be improbable: the next step predicts what follows from it.
  if (isBound && settings.temperature > 0 && !final) return [];
  const fits = (slot: number, token: number) => text?.permits(slot, token) ?? true;
  const allowed = (slot: number) => (token: number) =>
    token === special.pad || (mayStand(token, special) && fits(slot, token));
  const best = (slot: number) => bestChoice(predictions, rows.get(slot)!, allowed(slot));
  const free = canvas.undecided(wanted).slice(bound.reveals.length);
  const choose = (slot: number): Choice => {
    if (settings.temperature === 0) return best(slot);
    const draw = uniform(settings.seed, step, slot);
    return sampledChoice(predictions, rows.get(slot)!, settings, draw, allowed(slot));
  };
  const choices = free.map((slot, index): [number, Choice] => {
    const choice = choose(slot);
    // Before the first of them all slots are decided.
    const ends = index === 0 && suffixStart?.has(choice.token) && fits(slot, special.eom);
    return [slot, ends ? { ...choice, token: special.eom } : choice];
  });
  const texts = choices.filter(([, { token }]) => token !== special.pad);
  const bestText = (slot: number) =>
    bestChoice(predictions, rows.get(slot)!, (token) => isText(token, special) && fits(slot, token));
  if (final) {
    return bySureness(choices).map(([slot, choice]) => {
      const isLeft = choice.token !== special.pad && fits(slot, choice.token);
      const taken = isLeft ? choice : bestText(slot);
      text?.decide(slot, taken.token);
      return [slot, taken];
    });
  }

  const sure = texts.filter(([, { logProbability }]) => Math.exp(logProbability) >= settings.revealThreshold);
  if (sure.length > 0) return fitting(text, settings.temperature === 0 ? sure : untilSurprise(sure, best));
  // A slot that is bound has been revealed.
  if (isBound) return [];
  if (texts.length > 0)
    return fitting(text, [
      texts.reduce((best, next) => (next[1].logProbability > best[1].logProbability ? next : best)),
    ]);
  // All predict padding, which means that the text has ended, but no end token was chosen: the leftmost slot decides
  // between the end and a token.
  return fitting(
    text,
    choices.slice(0, 1).map(([leftmost]) => [leftmost, bestText(leftmost)]),
  );
}

/** Those that are allowed together, the most confident first. */
function fitting(text: ConstrainedCanvas | undefined, changes: [number, Choice][]): [slot: number, Choice][] {
  if (text === undefined) return changes;
  return bySureness(changes).filter(([slot, { token }]) => {
    const fits = text.permits(slot, token);
    if (fits) text.decide(slot, token);
    return fits;
  });
}

/** All of them where only together they fit, as the bytes of a character do; otherwise as `fitting`. */
function fittingEdits(text: ConstrainedCanvas | undefined, edits: [number, Choice][]): [slot: number, Choice][] {
  if (text === undefined || edits.length < 2) return fitting(text, edits);
  const all = text.copy();
  for (const [slot, { token }] of edits) all.decide(slot, token);
  return all.isFillable ? edits : fitting(text, edits);
}

function bySureness(changes: readonly [number, Choice][]): [slot: number, Choice][] {
  return changes.toSorted(([, a], [, b]) => b.logProbability - a.logProbability);
}

/** In order of confidence, the reveals up to the first that does not take its best token. */
function untilSurprise(reveals: [number, Choice][], best: (slot: number) => Choice): [slot: number, Choice][] {
  const ordered = reveals.map((reveal) => ({ reveal, best: best(reveal[0]) }));
  ordered.sort((a, b) => b.best.logProbability - a.best.logProbability);
  const surprise = ordered.findIndex(({ reveal: [, { token }], best }) => token !== best.token);
  return ordered.slice(0, surprise < 0 ? undefined : surprise + 1).map(({ reveal }) => reveal);
}

function findEdits(
  canvas: Canvas,
  predictions: Predictions,
  settings: SamplerSettings,
  special: SpecialTokens,
  { final, rows, bound }: StepOptions & StepParts,
): [slot: number, Choice][] {
  const edits: [number, Choice][] = [];
  for (const [slot, token] of canvas.tokens.entries()) {
    const row = rows.get(slot);
    if (slot < bound.count || row === undefined || token === special.mask || !isEditable(canvas, slot, settings))
      continue;
    // Without its end the canvas would have slots that no later step decides.
    if (final && canvas.ended && slot === canvas.tokens.length - 1) continue;
    const best = bestChoice(predictions, row, (candidate) => mayStand(candidate, special));
    const differs = best.token !== token && isText(best.token, special);
    if (differs && Math.exp(best.logProbability) >= settings.editThreshold) edits.push([slot, best]);
  }
  return edits;
}

/** Tokens that a slot may take: text, an end, or padding after the end. */
export function mayStand(token: number, { mask, prefix, suffix }: SpecialTokens): boolean {
  return token !== mask && token !== prefix && token !== suffix;
}

/** Tokens that may be reported as alternatives of a slot. */
export function mayBeSaid(token: number, special: SpecialTokens, text: TextConstraint | undefined): boolean {
  return mayStand(token, special) && (token === special.pad || (text?.everStands(token) ?? true));
}

/** Tokens that may be revealed: text or an end. */
function isText(token: number, special: SpecialTokens): boolean {
  return mayStand(token, special) && token !== special.pad;
}
