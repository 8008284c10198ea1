/** Requests that no client should send: valid bodies changed a little, JSON of any shape, and bytes of any kind. */
import fc from 'fast-check';

/** A body that a client sends to each route; what the fuzz test sends is made of these. */
const BODIES: Readonly<Record<string, readonly object[]>> = {
  '/v1/completions': [
    { model: 'nano', prompt: 'def f(a):\n    ', suffix: '\n', max_tokens: 16, temperature: 0.5, top_p: 0.9, seed: 1 },
    { model: 'nano', prompt: ['a', 'b'], n: 2, best_of: 3, echo: true, stop: ['\n\n'], logit_bias: {}, user: 'u' },
    { model: 'nano', prompt: 'a', stream: true, stream_options: { include_usage: true }, diffusing: 'canvas' },
    { model: 'nano', prompt: 'a', decoding: 'autoregressive', canvas_width: 8 },
    { model: 'nano', prompt: '<|fim_prefix|>a(<|fim_suffix|>)\n<|fim_middle|>', editor: true, min_confidence: 0.3 },
    { model: 'nano', prompt: 'a', logprobs: 1, presence_penalty: 0.5, frequency_penalty: -0.5, max_steps: 4 },
    { model: 'nano', prompt: [104, 105], logprobs: 5, logit_bias: { 97: -100, 0: 2 }, deadline_ms: 50 },
    { model: 'nano', prompt: [[104], [105]], suffix: 'b', echo: true },
    { model: 'auto', prompt: 'a', reveal_threshold: 0.5, edit_threshold: 0.5, best_of: 1, stream: false },
    {
      language: 'python',
      segments: {
        prefix: 'a',
        suffix: 'b',
        filepath: 'a.py',
        declarations: [{ filepath: 'b.py', body: 'c' }],
        relevant_snippets_from_changed_files: [{ filepath: 'b.py', body: 'c', score: 1 }],
      },
      mode: 'standard',
      debug_options: null,
      temperature: 0.1,
    },
  ],
  '/beta/completions': [{ model: 'nano', prompt: 'a', suffix: 'b', echo: false, logprobs: null, max_tokens: 8 }],
  '/v1/fim/completions': [
    { model: 'nano', prompt: 'a', suffix: 'b', max_tokens: 8, min_tokens: 0, random_seed: 7, stop: '\n', metadata: {} },
    { model: 'nano', prompt: 'a', suffix: 'b', stream: true, top_k: -1, repetition_penalty: 1, diffusing: false },
  ],
  '/infill': [
    {
      id_slot: 0,
      input_prefix: 'a\n',
      input_suffix: '\nb',
      input_extra: [{ text: 'c', filename: 'd.py', time: [1, 2] }],
      prompt: '    ',
      n_predict: 16,
      n_cmpl: 3,
      t_max_predict_ms: 250,
      response_fields: ['content', 'timings/prompt_n'],
      samplers: ['top_k'],
      logit_bias: [[97, false]],
      lora: [],
      seed: -1,
    },
    { input_prefix: '', prompt: '', n_predict: 0, stream: true, editor: false, logit_bias: { 97: 1 }, max_steps: 2 },
  ],
  '/api/generate': [
    { model: 'nano', prompt: 'a', suffix: 'b', system: '', images: [], options: { num_predict: -1, stop: ['\n'] } },
    { model: 'nano:latest', prompt: 'a', stream: false, raw: true, keep_alive: '5m', options: { temperature: 0.2 } },
  ],
  '/completion': [
    {
      prompt: 'a',
      n_predict: 8,
      n: 2,
      stop: [''],
      logit_bias: { a: false },
      response_fields: ['prompt'],
      temperature: 5,
    },
    { prompt: [104, 105], max_tokens: 4, stream: true, seed: 7, t_max_predict_ms: 9 },
  ],
  '/completions': [{ prompt: ['a', [104]], max_completion_tokens: 4, cache_prompt: true }],
  '/tokenize': [{ content: 'a b', add_special: true, with_pieces: true }, { content: ['a', 98] }],
  '/detokenize': [{ tokens: [104, 105] }],
  '/api/show': [{ model: 'nano', verbose: true }, { name: 'nano:latest' }],
  '/api/chat': [{ model: 'nano', messages: [{ role: 'user', content: 'a' }] }],
  '/api/embed': [{ model: 'nano', input: ['a'] }],
  '/api/embeddings': [{ model: 'nano', prompt: 'a' }],
  '/v1/events': [{ type: 'view', completion_id: 'cmpl-1', choice_index: 0, view_id: 'v', elapsed: 3 }],
  '/v1/health': [{}],
  '/v1/chat/completions': [{ model: 'nano', messages: [{ role: 'user', content: 'a' }], stream: true, tools: [] }],
  '/v1/edit/completions': [{ model: 'nano', messages: [{ role: 'user', content: '<|code_to_edit|>' }] }],
  '/v1/apply/completions': [{ model: 'nano', messages: [{ role: 'user', content: 'a' }] }],
};

/** Every route that takes a body. */
export const PATHS: readonly string[] = Object.keys(BODIES);

export interface FuzzRequest {
  path: string;
  headers: Record<string, string>;
  body: string | Uint8Array<ArrayBuffer>;
}

/** Text that breaks what takes characters for bytes, markers for text, or names for properties. */
const oddText = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 24 }),
  fc.constantFrom(
    ...[
      '',
      ' ',
      '\n',
      '\r\n',
      '\0',
      '\ud800',
      '\udc00x',
      'e\u0301',
      '\u202e',
      '💩',
      '\ufeff',
      '__proto__',
      'constructor',
    ],
    ...['<|mask|>', '<|eom|>', '<|endoftext|>', '<fim_prefix><fim_suffix>', '[SUFFIX][PREFIX]', '<PRE>  <SUF> <MID>'],
    ...['data: x\n\n', '$&', '%s', '../..', 'nano', 'auto', 'x'.repeat(300), '(\n'.repeat(40)],
  ),
);

const oddNumber = fc.constantFrom(
  ...[0, -0, 1, -1, 2, 16, 17, 0.5, 1e-320, 1e308, -1e308, 2 ** 31, -(2 ** 31) - 1, 2 ** 32, 2 ** 53, 2 ** 53 + 2],
);

const oddValue: fc.Arbitrary<unknown> = fc.oneof(
  oddText,
  oddNumber,
  fc.constantFrom<unknown>(null, true, false, [], {}, [[]], [null], { '': '' }, Array(20).fill('a'), nested(50)),
  fc.jsonValue({ maxDepth: 3, stringUnit: 'binary' }),
);

function nested(depth: number): unknown {
  let value: unknown = [];
  for (let i = 0; i < depth; i++) value = i % 2 ? [value] : { a: value };
  return value;
}

/** What is done to one place of a body; `at` picks the place. */
const mutation = fc.record({
  at: fc.nat(),
  how: fc.constantFrom('replace', 'replace', 'replace', 'remove', 'wrap', 'add'),
  name: fc.oneof(oddText, fc.constantFrom('segments', 'stream', 'n', 'editor', 'options', 'stop', 'suffix')),
  value: oddValue,
});

type Mutation = typeof mutation extends fc.Arbitrary<infer T> ? T : never;

/** Objects and arrays of a body, each a place whose entries can be changed. */
function containersOf(value: unknown): Record<string, unknown>[] {
  if (typeof value !== 'object' || value === null) return [];
  return [value as Record<string, unknown>, ...Object.values(value).flatMap(containersOf)];
}

function mutate(body: object, { at, how, name, value }: Mutation): void {
  const places = containersOf(body).slice(0, 64);
  const place = places[at % places.length]!;
  const keys = Object.keys(place);
  const key = how === 'add' || keys.length === 0 ? name : keys[at % keys.length]!;
  if (how === 'remove') delete place[key];
  // What an empty place has is inherited, and the tests' own.
  else if (how === 'wrap' && Object.hasOwn(place, key)) setEntry(place, key, [place[key]]);
  else setEntry(place, key, structuredClone(value));
}

/** An assignment would not add an entry `__proto__`. */
function setEntry(place: object, key: string, value: unknown): void {
  Object.defineProperty(place, key, { value, enumerable: true, configurable: true, writable: true });
}

const mutated = (bodies: readonly object[]) =>
  fc.tuple(fc.constantFrom(...bodies), fc.array(mutation, { maxLength: 4 })).map(([valid, mutations]) => {
    const body = structuredClone(valid);
    for (const each of mutations) mutate(body, each);
    return JSON.stringify(body);
  });

/** JSON text that was cut, or into which something was pasted. */
const broken = (bodies: readonly object[]) =>
  fc
    .tuple(fc.constantFrom(...bodies), fc.nat(400), fc.nat(8), fc.oneof(oddText, fc.constantFrom('1e999', '\\ud800')))
    .map(([body, at, removed, pasted]) => {
      const text = JSON.stringify(body);
      return text.slice(0, at) + pasted + text.slice(at + removed);
    });

const headers = fc.oneof(
  { arbitrary: fc.constant({ 'content-type': 'application/json' }), weight: 12 },
  fc.constantFrom<Record<string, string>>(
    {},
    { 'content-type': 'application/json; charset=utf-16' },
    { 'content-type': 'application/vnd.api+json' },
    { 'content-type': 'text/plain' },
    { 'content-type': 'application/json', 'content-encoding': 'gzip' },
    { 'content-type': 'application/json', 'x-request-id': '"<>' },
    { 'content-type': 'application/json', authorization: 'Bearer' },
    { 'content-type': 'application/json', 'content-length': '-1' },
    { 'content-type': 'application/x-www-form-urlencoded' },
    { 'content-type': 'text/plain', origin: 'https://page.example' },
  ),
);

const query = fc.oneof(
  { arbitrary: fc.constant(''), weight: 12 },
  fc.constantFrom('?editor=true', '?editor=false', '?editor=', '?editor=true&editor=no', '?%', '?select_kind=line'),
);

/** Made once: fast-check prepares the whole of Unicode for it. */
const anyJson = fc.json({ stringUnit: 'binary', maxDepth: 4 });

/** One request to a path. */
export function requestTo(path: string): fc.Arbitrary<FuzzRequest> {
  const bodies = BODIES[path]!;
  const body = fc.oneof(
    { arbitrary: mutated(bodies), weight: 12 },
    { arbitrary: broken(bodies), weight: 3 },
    anyJson,
    fc.uint8Array({ maxLength: 64 }),
  );
  return fc.record({ path: query.map((text) => path + text), headers, body });
}
