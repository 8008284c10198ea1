/** The request of llama.vim, as autoload/llama.vim builds it (llama#fim, and s:ring_update for the warm-up). */

interface Place {
  /** Whole lines before that of the cursor. */
  prefix: string;
  /** The line of the cursor, up to it. */
  line: string;
  suffix: string;
  /** Chunks of other files, the most recent last. */
  extra: readonly { text: string; time: [number, number]; filename: string }[];
  /** 250 for the first request of a place, 1000 for the next. */
  maxPredictMs: number;
}

export function llamaVimRequest({ prefix, line, suffix, extra, maxPredictMs }: Place) {
  return {
    id_slot: 0,
    input_prefix: prefix,
    input_suffix: suffix,
    input_extra: extra,
    prompt: line,
    n_predict: 128,
    stop: [],
    n_indent: /^\s*/.exec(line)![0].length,
    top_k: 40,
    top_p: 0.9,
    stream: false,
    samplers: ['top_k', 'top_p', 'infill'],
    cache_prompt: true,
    t_max_prompt_ms: 500,
    t_max_predict_ms: maxPredictMs,
    response_fields: [
      'content',
      'timings/prompt_n',
      'timings/prompt_ms',
      'timings/prompt_per_token_ms',
      'timings/prompt_per_second',
      'timings/predicted_n',
      'timings/predicted_ms',
      'timings/predicted_per_token_ms',
      'timings/predicted_per_second',
      'truncated',
      'tokens_cached',
    ],
    model: '',
  };
}

/** Fills the cache with chunks while the user does not type. */
export function llamaVimWarmUp(extra: Place['extra']) {
  return {
    id_slot: 0,
    input_prefix: '',
    input_suffix: '',
    input_extra: extra,
    prompt: '',
    n_predict: 0,
    temperature: 0,
    samplers: [],
    stream: false,
    cache_prompt: true,
    t_max_prompt_ms: 1,
    t_max_predict_ms: 1,
    response_fields: [''],
  };
}
