/**
 * The first step of a cascade: the local model answers, unless it has reason to leave the request to a larger one. Its
 * reason is its own confidence, the mean log-probability of the tokens it emitted (as in Chen et al., "FrugalGPT",
 * https://arxiv.org/abs/2305.05176, with the model's probability in place of a learned score).
 */
import { EngineBusy } from '../../engine/errors.ts';
import { type ModelProvider, ModelUnavailable } from '../../engine/provider.ts';
import type { Completion, Engine, Frame } from '../../engine/types.ts';

/**
 * - `confidence`: the mean log-probability of the answer is under the threshold
 * - `context`: the prompt does not fit, so the model would not see all of it
 * - `length`: more tokens are asked for than the model can write
 * - `busy`: too many requests wait for the model
 * - `unavailable`: the model cannot be loaded
 */
export type EscalationReason = 'confidence' | 'context' | 'length' | 'busy' | 'unavailable';

/** The local model leaves the request to a larger one. */
export class Escalation extends Error {
  override readonly name = 'Escalation';
  readonly reason: EscalationReason;

  constructor(reason: EscalationReason) {
    super(`the local model leaves the request: ${reason}`);
    this.reason = reason;
  }

  /** Whether the local model could answer if it had to. */
  get canAnswer(): boolean {
    return this.reason !== 'busy' && this.reason !== 'unavailable';
  }
}

export interface CautionOptions {
  /** Name under which the model is provided. */
  id: string;
  /** Mean log-probability (natural logarithm) under which an answer is not given. */
  minConfidence: number;
  /** Tokens that the request asks for. */
  maxTokens: number;
}

/** A model for one request that throws `Escalation` until it is told to answer in any case. */
export interface CautiousModel extends ModelProvider {
  /** From now on it answers at any confidence; text that was already generated is not generated again. */
  insist(): void;
}

/**
 * Wraps the model of one request so that it may escalate. The first completion decides, before any of it is sent; the
 * further choices of the request follow it, because the answer of one request comes from one model.
 */
export function cautious(local: ModelProvider, { id, minConfidence, maxTokens }: CautionOptions): CautiousModel {
  let insisting = false;
  let decided: { frames: Frame[]; completion: Completion } | undefined;

  function check(reason: EscalationReason, isReason: boolean): void {
    if (isReason && !insisting) throw new Escalation(reason);
  }

  async function decide(frames: AsyncGenerator<Frame, Completion>) {
    try {
      return await whole(frames);
    } catch (error) {
      check('busy', error instanceof EngineBusy);
      throw error;
    }
  }

  function wrap(engine: Engine): Engine {
    let isFirst = true;
    return {
      model: engine.model,
      vocabulary: engine.vocabulary,
      decidesLate: true,
      async *generate(request, signal) {
        if (!isFirst) return yield* engine.generate(request, signal);
        isFirst = false;
        decided ??= await decide(engine.generate(request, signal));
        check('context', decided.completion.usage.truncatedTokens > 0);
        check('confidence', decided.completion.confidence < minConfidence);
        yield* decided.frames;
        return decided.completion;
      },
    };
  }

  return {
    id,
    status: local.status,
    info: (keepAlive) => local.info(keepAlive),
    insist() {
      insisting = true;
    },
    async engine(keepAlive) {
      try {
        const engine = await local.engine(keepAlive);
        check('length', maxTokens > engine.model.maxOutputTokens);
        return wrap(engine);
      } catch (error) {
        check('unavailable', error instanceof ModelUnavailable);
        throw error;
      }
    },
  };
}

async function whole(frames: AsyncGenerator<Frame, Completion>): Promise<{ frames: Frame[]; completion: Completion }> {
  const seen: Frame[] = [];
  for (let next = await frames.next(); ; next = await frames.next()) {
    if (next.done) return { frames: seen, completion: next.value };
    seen.push(next.value);
  }
}
