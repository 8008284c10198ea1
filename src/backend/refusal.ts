/**
 * How a backend reports a refusal or a failure: in the body of an HTTP error, in a body with status 200, or in an event
 * of a stream. Engines, gateways and frameworks have different formats; these are read:
 *
 * - `{"error": {"message", "type", "param", "code"}}` (OpenAI, vLLM, SGLang, OpenRouter), also as the one element of a
 *   list (Gemini)
 * - `{"error": "…"}` (Ollama, TGI), `{"message": …}`, `{"object": "error", "message": …, "code": 400}` (older vLLM,
 *   LMDeploy)
 * - `{"detail": "…"}`, `{"detail": [{"loc": […], "msg": "…"}]}` (FastAPI), `{"errors": [{"message": …}]}`
 * - `{"type": "error", …}` and `{"status": "error", …}` in streams
 * - `{"choices": [{"error": {…}, "finish_reason": "error"}]}` (OpenRouter)
 * - plain text
 */

/** A refusal as the backend wrote it. All texts are the backend's and may contain anything. */
export interface Refusal {
  status: number;
  message?: string;
  type?: string;
  param?: string;
  code?: string;
}

type Fields = Readonly<Record<string, unknown>>;

/** Deeper than any error body; what nests further is no message. */
const MAX_DEPTH = 6;

/** Errors of a list that are passed on; the others are about other fields and add little. */
const MAX_LISTED = 8;

/** Status of an error within a success that has neither a known code nor a known name. */
const UNNAMED = 500;

/** The meaning of error names, as lower-case letters only, in the order in which they are tried. */
const STATUS_BY_NAME: readonly (readonly [RegExp, number])[] = [
  [/ratelimit|toomanyrequests|quota|resourceexhausted/, 429],
  [/overload|unavailable/, 503],
  [/timeout|timedout|deadline/, 504],
  [/authenticat|apikey|unauthorized/, 401],
  [/billing|payment|insufficientbalance|insufficientcredit/, 402],
  [/permission|forbidden/, 403],
  [/notfound/, 404],
  [/toolarge/, 413],
  [/invalid|badrequest|validation|unprocessable|contextlength|contentfilter|contentpolicy|unsupported/, 400],
];

/** A code or type that programs can read: real ones are longer than two characters, and a sentence is not one. */
const IDENTIFIER = /^\w[\w.:-]{2,99}$/;

/** Path of a parameter, such as `messages` or `messages[1].content`. */
const PARAM = /^[\w.[\]-]{1,200}$/;

/** Reads the body of an HTTP error, whole or its beginning. */
export function refusalOf(status: number, text: string, contentType = ''): Refusal {
  const value = parsed(text);
  if (value !== undefined) return { status, ...wordsOf(value, status) };
  if (/^\s*[{[]/.test(text)) return { status, ...wordsOf(beginningOf(text), status) };
  const plain = text.trim();
  // An HTML page is meant for people who look at the backend itself.
  if (plain === '' || plain.startsWith('<') || /html/i.test(contentType)) return { status };
  return { status, message: plain };
}

/** The failure in a whole answer with status 200; undefined if it is a normal answer, or has no error. */
export function refusalInAnswer(answer: unknown): Refusal | undefined {
  const body = bodyOf(answer);
  if (!isFields(body)) return undefined;
  if (hasChoices(body)) return failedChoices(body) ?? (isSaid(body.error) && isEmpty(body) ? within(body) : undefined);
  if (isSaid(body.error)) return within(body);
  return messageIn(body) === undefined && codedStatus(body) === undefined ? undefined : within(body);
}

/** The failure in the data of an event; `isError` if the event itself has that type. */
export function refusalInEvent(data: unknown, isError: boolean): Refusal | undefined {
  const body = bodyOf(data);
  if (!isFields(body)) return isError ? { status: UNNAMED, ...wordsOf(body, UNNAMED) } : undefined;
  if (isError || isSaid(body.error) || isCalledError(body)) return within(body);
  if (hasChoices(body)) return failedChoices(body);
  return body.choices === undefined && (isSaid(body.detail) || codedStatus(body) !== undefined)
    ? within(body)
    : undefined;
}

function within(body: Fields): Refusal {
  const status = codedStatus(body) ?? namedStatus(body) ?? UNNAMED;
  return { status, ...wordsOf(body, status) };
}

/** Only if no choice has an answer; if only some failed, the client gets them all. */
function failedChoices(body: Fields): Refusal | undefined {
  const choices = (body.choices as unknown[]).filter(isFields);
  const isFailed = (choice: Fields) => isSaid(choice.error) || choice.finish_reason === 'error';
  if (choices.length === 0 || !choices.every(isFailed)) return undefined;
  const failed = choices.find(({ error }) => isSaid(error));
  return failed === undefined ? { status: UNNAMED } : within(failed);
}

/** Whether no choice has content, as where an engine fails before its first token and fills the usual fields in. */
function isEmpty(body: Fields): boolean {
  return (body.choices as unknown[]).filter(isFields).every(({ text, message, delta }) => {
    const parts = [message, delta].filter(isFields).flatMap(({ role: _, ...said }) => Object.values(said));
    return ![text, ...parts].some(isSaid);
  });
}

/** `{"object": "error"}`, `{"type": "error"}`, `{"status": "error"}`. */
function isCalledError({ object, type, status, choices }: Fields): boolean {
  return object === 'error' || (choices === undefined && (type === 'error' || status === 'error'));
}

function hasChoices({ choices }: Fields): boolean {
  return Array.isArray(choices) && choices.length > 0;
}

/** Gemini puts its one error into a list. */
function bodyOf(value: unknown): unknown {
  return Array.isArray(value) && value.length === 1 ? value[0] : value;
}

/** The objects that may describe the error, the innermost first. FastAPI's lists name faulty fields, not errors. */
function errorsIn(body: Fields): Fields[] {
  const first = Array.isArray(body.errors) ? body.errors[0] : body.errors;
  return [body.error, body.detail, body.message, first].filter(isFields).concat(body);
}

function wordsOf(value: unknown, status: number): Omit<Refusal, 'status'> {
  const body = bodyOf(value);
  const message = messageIn(body);
  if (!isFields(body)) return message === undefined ? {} : { message };
  const pick = (name: string, pattern: RegExp) =>
    errorsIn(body)
      .map((error) => textOf(error[name], status))
      .find((text) => text !== undefined && pattern.test(text));
  const type = pick('type', IDENTIFIER) ?? pick('error_type', IDENTIFIER);
  const code = pick('code', IDENTIFIER);
  const param = pick('param', PARAM) ?? locationIn(body);
  return {
    ...(message !== undefined && { message }),
    ...(type !== undefined && { type }),
    ...(code !== undefined && { code }),
    ...(param !== undefined && { param }),
  };
}

/** A number that only repeats the status is no code. */
function textOf(value: unknown, status: number): string | undefined {
  const text = typeof value === 'number' ? String(value) : value;
  return typeof text === 'string' && text !== String(status) ? text : undefined;
}

/** The message of an error in any of the shapes; those of a list one after the other. */
function messageIn(value: unknown, depth = 0): string | undefined {
  if (typeof value === 'string') return value.trim() === '' ? undefined : value;
  if (depth > MAX_DEPTH) return undefined;
  if (Array.isArray(value)) {
    const messages = value.slice(0, MAX_LISTED).map((entry) => messageIn(entry, depth + 1));
    return messages.filter((message) => message !== undefined).join('; ') || undefined;
  }
  if (!isFields(value)) return undefined;
  // Beside a message, a text in `error` only names the status: `{"error": "Bad Request", "message": "…"}`.
  const error = isFields(value.error) ? [value.error] : [];
  const message = [...error, value.message, value.msg, value.detail, value.errors, value.error]
    .map((part) => messageIn(part, depth + 1))
    .find((part) => part !== undefined);
  const at = pathOf(value.loc);
  return message !== undefined && at !== undefined ? `${at}: ${message}` : message;
}

/** FastAPI's place of the first mistake, without the part of the request that it is in. */
function locationIn({ detail }: Fields): string | undefined {
  const first: unknown = Array.isArray(detail) ? detail[0] : undefined;
  const path = isFields(first) ? pathOf(first.loc) : undefined;
  return path !== undefined && PARAM.test(path) ? path : undefined;
}

function pathOf(loc: unknown): string | undefined {
  if (!Array.isArray(loc)) return undefined;
  const path = (loc[0] === 'body' ? loc.slice(1) : loc).filter((part) => ['string', 'number'].includes(typeof part));
  return path.length > 0 ? path.join('.') : undefined;
}

function codedStatus(body: Fields): number | undefined {
  for (const error of errorsIn(body)) {
    for (const value of [error.code, error.status, error.status_code, error.statusCode, error.error_code]) {
      const status = typeof value === 'string' && /^\d{3}$/.test(value) ? Number(value) : value;
      if (typeof status === 'number' && Number.isInteger(status) && status >= 400 && status < 600) return status;
    }
  }
  return undefined;
}

function namedStatus(body: Fields): number | undefined {
  for (const error of errorsIn(body)) {
    for (const name of [error.code, error.status, error.type, error.error_type]) {
      if (typeof name !== 'string') continue;
      const letters = name.toLowerCase().replaceAll(/[^a-z]/g, '');
      const found = STATUS_BY_NAME.find(([pattern]) => pattern.test(letters));
      if (found) return found[1];
    }
  }
  return undefined;
}

/** The first members of those names that are complete in a JSON text that was cut. */
function beginningOf(text: string): Fields {
  const member = /"(error|message|msg|detail|type|param|code)"\s*:\s*("(?:[^"\\]|\\.)*")/g;
  const fields: Record<string, unknown> = {};
  for (const [, name, value] of text.matchAll(member)) fields[name!] ??= parsed(value!);
  return fields;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Whether there is an error: the field for one may exist and be empty. */
function isSaid(value: unknown): boolean {
  if (typeof value === 'object' && value !== null) return Object.keys(value).length > 0;
  return (typeof value === 'string' && value !== '') || typeof value === 'number' || value === true;
}
