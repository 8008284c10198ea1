/**
 * Which tokens are allowed at each slot of a canvas, so that its text is, or can still become, well-formed UTF-8
 * without characters that no completion has. Slots are revealed independently, so half a character may be on either
 * side of masks: a token is allowed if some tokens for the masks complete all decided slots to valid text. Exact: it
 * tracks the decoder states that are possible before each slot, and those from which the following text can be reached,
 * one bit per state.
 */

import type { Tokenizer } from '../tokenizer/tokenizer.ts';
import { END, hasUnwanted, NEVER, type TokenClasses, tokenClassesOf } from './token-classes.ts';
import { BOUNDARY, DEAD } from './utf8-automaton.ts';

/** A logit bias from which on a token is banned: it cannot complete a mask. */
const BAN = -100;

/** What the tokens of one request may be. */
export class TextConstraint {
  readonly #classes: TokenClasses;
  readonly #mask: number;
  /** By state: the states that a token of text can lead to. */
  readonly #reach: Uint32Array;
  /** The states from which a character can be completed. */
  readonly #open: number;

  /** @param banned tokens that a request does not want; they are allowed again if no other token is possible */
  constructor(classes: TokenClasses, mask: number, banned: Iterable<number> = []) {
    this.#classes = classes;
    this.#mask = mask;
    const without = reachOf(classes, classes.sizes(banned));
    const open = openStates(without);
    const canSay = (without[BOUNDARY]! & open) !== 0;
    this.#reach = canSay ? without : reachOf(classes, classes.sizes([]));
    this.#open = canSay ? open : openStates(this.#reach);
  }

  /** Whether a token is allowed in any text, or ends one. */
  everStands(token: number): boolean {
    return this.#classes.of(token) !== NEVER;
  }

  /**
   * A canvas to be filled.
   * @param tokens of its slots that exist, masks among them; copied
   * @param written tokens before it
   * @param from the first slot that is constrained; those before it are as if they were written
   */
  on(tokens: ArrayLike<number>, written: Iterable<number>, from = 0): ConstrainedCanvas {
    let state: number = BOUNDARY;
    const all = Int32Array.from(tokens);
    for (const token of [...written, ...all.subarray(0, from)]) {
      const next = this.#classes.next(this.#classes.of(token), state);
      // Tokens that are already on the canvas are not checked.
      if (next !== DEAD && next !== this.#classes.ended) state = next;
    }
    const parts = { classes: this.#classes, mask: this.#mask, reach: this.#reach, open: this.#open };
    return new ConstrainedCanvas(parts, all.slice(from), state, from);
  }
}

const YES = 1;
const NO = 2;

interface ConstraintParts {
  readonly classes: TokenClasses;
  readonly mask: number;
  readonly reach: Uint32Array;
  readonly open: number;
}

/** The slots of a canvas, where they are decided. */
export class ConstrainedCanvas {
  readonly #parts: ConstraintParts;
  readonly #tokens: Int32Array;
  readonly #start: number;
  readonly #from: number;
  #before: Uint32Array | undefined; // (slots + 1): states that are possible before a slot
  #after: Uint32Array | undefined; // (slots + 1): states before a slot from which the rest can be filled
  readonly #permitted: Uint8Array; // (slots, classes): 0 while it is not known, YES or NO

  /** @param tokens those of the slots from `from` on */
  constructor(parts: ConstraintParts, tokens: Int32Array, start: number, from: number) {
    this.#parts = parts;
    this.#tokens = tokens;
    this.#start = start;
    this.#from = from;
    this.#permitted = new Uint8Array(tokens.length * parts.classes.count);
  }

  /** Whether the slot may take this token, given all slots that are decided. */
  permits(slot: number, token: number): boolean {
    const { classes } = this.#parts;
    const tokenClass = classes.of(token);
    if (tokenClass === NEVER) return false;
    const place = slot - this.#from;
    const at = place * classes.count + tokenClass;
    if (this.#permitted[at] === 0) this.#permitted[at] = this.#fits(place, tokenClass) ? YES : NO;
    return this.#permitted[at] === YES;
  }

  /** Decides a slot, or changes its decision. */
  decide(slot: number, token: number): void {
    this.#tokens[slot - this.#from] = token;
    this.#before = undefined;
    this.#after = undefined;
    this.#permitted.fill(0);
  }

  /** Whether masks can be filled at all so that what is decided is text. */
  get isFillable(): boolean {
    this.#after ??= this.#fillableAfter();
    return (this.#after[0]! & (1 << this.#start)) !== 0;
  }

  copy(): ConstrainedCanvas {
    return new ConstrainedCanvas(this.#parts, this.#tokens.slice(), this.#start, this.#from);
  }

  #fits(slot: number, tokenClass: number): boolean {
    this.#before ??= this.#possibleBefore();
    this.#after ??= this.#fillableAfter();
    return (this.#step(tokenClass, this.#before[slot]!) & this.#after[slot + 1]!) !== 0;
  }

  #possibleBefore(): Uint32Array {
    const before = new Uint32Array(this.#tokens.length + 1);
    before[0] = 1 << this.#start;
    for (let slot = 0; slot < this.#tokens.length; slot++) {
      const token = this.#tokens[slot]!;
      before[slot + 1] =
        token === this.#parts.mask
          ? this.#spread(before[slot]!)
          : this.#step(this.#parts.classes.of(token), before[slot]!);
    }
    return before;
  }

  #fillableAfter(): Uint32Array {
    const { classes, mask, reach, open } = this.#parts;
    const after = new Uint32Array(this.#tokens.length + 1);
    // A character may go on in the next canvas.
    after[this.#tokens.length] = open | (1 << classes.ended);
    for (let slot = this.#tokens.length - 1; slot >= 0; slot--) {
      const token = this.#tokens[slot]!;
      const tokenClass = classes.of(token);
      for (let state = 0; state < classes.states; state++) {
        const next = token === mask ? reach[state]! : bit(classes.next(tokenClass, state));
        if (next & after[slot + 1]!) after[slot]! |= 1 << state;
      }
    }
    return after;
  }

  #step(tokenClass: number, states: number): number {
    const { classes } = this.#parts;
    let next = 0;
    for (let state = 0; state < classes.states; state++) {
      if (states & (1 << state)) next |= bit(classes.next(tokenClass, state));
    }
    return next;
  }

  #spread(states: number): number {
    let next = 0;
    const { reach } = this.#parts;
    for (let state = 0; state < reach.length; state++) if (states & (1 << state)) next |= reach[state]!;
    return next;
  }
}

/**
 * For each state, the states after some token of text. An end token cannot fill a mask: the decided slots after it
 * would be lost.
 */
function reachOf(classes: TokenClasses, sizes: Uint32Array): Uint32Array {
  return Uint32Array.from({ length: classes.states }, (_, state) => {
    if (state === classes.ended) return bit(state);
    let reached = 0;
    for (let tokenClass = END + 1; tokenClass < classes.count; tokenClass++) {
      if (sizes[tokenClass]! > 0) reached |= bit(classes.next(tokenClass, state));
    }
    return reached;
  });
}

/** The states from which some tokens lead to the boundary of a character. */
function openStates(reach: Uint32Array): number {
  let open = bit(BOUNDARY);
  for (let before = 0; before !== open; ) {
    before = open;
    for (const [state, reached] of reach.entries()) if (reached & open) open |= bit(state);
  }
  return open;
}

function bit(state: number): number {
  return state === DEAD ? 0 : 1 << state;
}

/** Constraints without banned tokens, which are made once. */
const unbanned = new WeakMap<TokenClasses, TextConstraint>();

/**
 * The constraint on the completion of a request. Characters that are rare in text are allowed if the text around the
 * cursor has them.
 */
export function textConstraint(
  tokenizer: Tokenizer,
  { prefix, suffix, logitBias }: { prefix: string; suffix: string; logitBias?: ReadonlyMap<number, number> },
): TextConstraint {
  const banned = [...(logitBias ?? [])].filter(([, bias]) => bias <= BAN).map(([token]) => token);
  const classes = tokenClassesOf(tokenizer, hasUnwanted(prefix) || hasUnwanted(suffix));
  if (banned.length > 0) return new TextConstraint(classes, tokenizer.special.mask, banned);
  const constraint = unbanned.get(classes) ?? new TextConstraint(classes, tokenizer.special.mask);
  unbanned.set(classes, constraint);
  return constraint;
}
