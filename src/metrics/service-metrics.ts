/** What the service counts. Names and units follow https://prometheus.io/docs/practices/naming/ */
import type { Observation, ObservedEngine, ObservedTokens } from './observation.ts';
import { type MetricSnapshot, Registry } from './registry.ts';

/** From a cached key stroke to the default time limit. */
const LATENCY_BOUNDS_S = [0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2.5, 5, 10, 30];

/** A canvas needs at least one step; each further canvas of a long completion adds its own. */
const STEP_BOUNDS = [1, 2, 4, 6, 8, 12, 16, 24, 32, 64, 128];

/** One answer, with what is known when it ends. */
export interface Answer {
  route: string;
  status: number;
  /** Name of the API key, or `loopback`; none on public paths and for requests without a valid key. */
  key?: string | undefined;
  durationMs: number;
  observation: Observation;
}

/** What is being run: names and numbers that change with a release, and never with a request. */
export interface RunningBuild {
  version: string;
  revision: string;
}

/** What is known of a model once it is loaded. */
export interface RunningModel {
  id: string;
  /** Unix time of its release, in seconds. */
  created: number;
  /** Tokens. */
  contextLength: number;
}

export class ServiceMetrics {
  readonly #registry = new Registry();
  readonly #requests = this.#registry.counter('quicksilver_requests_total', 'Answers by route and status.');
  readonly #errors = this.#registry.counter(
    'quicksilver_errors_total',
    'Answers that ended in an error, by route, status and error code; a stream fails with status 200.',
  );
  readonly #duration = this.#registry.histogram(
    'quicksilver_request_duration_seconds',
    'Time from the request to the last byte of its answer.',
    LATENCY_BOUNDS_S,
  );
  readonly #backendAnswers = this.#registry.counter(
    'quicksilver_backend_answers_total',
    'Answers that came from a backend and not from the local model, by backend and status.',
  );
  readonly #keyRequests = this.#registry.counter(
    'quicksilver_key_requests_total',
    'Answers by name of the API key and status.',
  );
  readonly #keyPromptTokens = this.#registry.counter(
    'quicksilver_key_prompt_tokens_total',
    'Tokens of prompts and suffixes that the local model or a backend saw, by name of the API key.',
  );
  readonly #keyCompletionTokens = this.#registry.counter(
    'quicksilver_key_completion_tokens_total',
    'Tokens generated, by name of the API key.',
  );
  readonly #completions = this.#registry.counter(
    'quicksilver_completions_total',
    'Completions of the local model by outcome: stop, length, aborted or failed.',
  );
  readonly #queueTime = this.#registry.histogram(
    'quicksilver_queue_seconds',
    'Time a completion waited for its first turn.',
    LATENCY_BOUNDS_S,
  );
  readonly #steps = this.#registry.histogram(
    'quicksilver_completion_steps',
    'Denoising steps of a completion.',
    STEP_BOUNDS,
  );
  readonly #slotEvaluations = this.#registry.counter(
    'quicksilver_slot_evaluations_total',
    'Canvas slots computed, summed over the steps.',
  );
  readonly #promptTokens = this.#registry.counter(
    'quicksilver_prompt_tokens_total',
    'Tokens of prompts and suffixes that the model saw; with a label, those that a backend says it saw.',
  );
  readonly #cachedTokens = this.#registry.counter(
    'quicksilver_cached_tokens_total',
    'Prompt tokens that were found in the prefix cache; with a label, in that of a backend.',
  );
  readonly #completionTokens = this.#registry.counter(
    'quicksilver_completion_tokens_total',
    'Tokens generated; with a label, by a backend.',
  );
  #inFlight = 0;
  #engine: ObservedEngine | undefined;
  #model: RunningModel | undefined;

  constructor({ version, revision }: RunningBuild = { version: 'unknown', revision: 'unknown' }) {
    this.#registry.info('quicksilver_build_info', 'The build that runs.', () => ({ version, revision }));
    this.#registry.info('quicksilver_model_info', 'The local model, once it is loaded.', () => {
      if (this.#model === undefined) return undefined;
      const { id, created, contextLength } = this.#model;
      return { model: id, created: String(created), context_length: String(contextLength) };
    });
    this.#registry.gauge('quicksilver_requests_in_flight', 'Requests being answered.', () => this.#inFlight);
    this.#registry.gauge(
      'quicksilver_queue_length',
      'Completions that wait for their first turn.',
      () => this.#engine?.waiting ?? 0,
    );
  }

  began(): void {
    this.#inFlight++;
  }

  ended({ route, status, key, durationMs, observation }: Answer): void {
    this.#inFlight--;
    this.#engine = observation.engine ?? this.#engine;
    this.#model = observation.engine?.model ?? this.#model;
    const labels = { route, status: String(status) };
    this.#requests.add(1, labels);
    this.#duration.observe(durationMs / 1000, { route });
    if (observation.errorCode !== undefined) this.#errors.add(1, { ...labels, code: observation.errorCode });
    if (observation.backend !== undefined) {
      this.#backendAnswers.add(1, { backend: observation.backend, status: String(status) });
    }
    if (observation.backend !== undefined && observation.backendUsage !== undefined) {
      this.#addTokens(observation.backendUsage, { backend: observation.backend });
    }
    if (key !== undefined) this.#countForKey(key, status, observation);
    for (const outcome of observation.outcomes) this.#completions.add(1, { outcome });
    for (const { usage } of observation.completions) {
      if (usage.queueMs !== undefined) this.#queueTime.observe(usage.queueMs / 1000);
      this.#steps.observe(usage.steps);
      this.#slotEvaluations.add(usage.slotEvaluations);
      this.#addTokens(usage);
    }
  }

  #addTokens(tokens: ObservedTokens, labels: Readonly<Record<string, string>> = {}): void {
    this.#promptTokens.add(tokens.promptTokens, labels);
    this.#cachedTokens.add(tokens.cachedTokens, labels);
    this.#completionTokens.add(tokens.completionTokens, labels);
  }

  /** Tokens of the local model and of backends: both are what the key has used. */
  #countForKey(key: string, status: number, { work, backendUsage }: Observation): void {
    this.#keyRequests.add(1, { key, status: String(status) });
    for (const tokens of [work, backendUsage]) {
      if (tokens === undefined) continue;
      this.#keyPromptTokens.add(tokens.promptTokens, { key });
      this.#keyCompletionTokens.add(tokens.completionTokens, { key });
    }
  }

  snapshot(): MetricSnapshot[] {
    return this.#registry.snapshot();
  }

  /** The page of the text format. */
  text(): string {
    return this.#registry.text();
  }
}
