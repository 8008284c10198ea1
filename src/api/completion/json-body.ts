/** The body of a request as JSON, or the error for a body that is not. */
import type { Context } from 'hono';
import { ApiError } from '../../http/errors.ts';
import { OLLAMA_PATH } from '../errors.ts';

/** One media type of JSON, or the same header sent twice, which arrives as a list. */
const JSON_TYPE = /^application\/([\w.-]+\+)?json\s*(;[^,]*)?$/i;
const CHARSET = /;\s*charset\s*=\s*"?([^\s;",]+)/i;

/** JSON between systems is UTF-8 (RFC 8259, section 8.1), of which ASCII is a part. */
const UTF_8 = /^(utf-?8|us-ascii|ascii)$/i;

/** Deeper than any field of a dialect. */
const MAX_FIELD_DEPTH = 8;

/**
 * Reads the body as JSON of any shape.
 * @throws ApiError 400 for invalid JSON, 415 for another media type or encoding.
 */
export async function readJson(c: Context): Promise<unknown> {
  const type = c.req.header('content-type');
  // Ollama reads JSON under any media type, and its documentation has `curl -d` everywhere.
  if (type !== undefined && !isJson(type) && !OLLAMA_PATH.test(c.req.path)) {
    throw unsupported(`Send the body as application/json, not as ${type}.`);
  }
  const charset = CHARSET.exec(type ?? '')?.[1];
  if (charset !== undefined && !UTF_8.test(charset)) throw unsupported(`Send the body as UTF-8, not as ${charset}.`);
  const bytes = new Uint8Array(await c.req.arrayBuffer());
  if (isUtf16(bytes)) throw unsupported('Send the body as UTF-8, not as UTF-16.');
  try {
    // Skips a byte order mark; bytes that are no UTF-8 are read as U+FFFD.
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new ApiError(400, 'The body is not valid JSON.', { code: 'invalid_json' });
  }
}

/** Without the fields that are null, at any depth: clients write fields that they leave unset as null. */
export function withoutNulls(value: unknown, depth = 0): unknown {
  if (typeof value !== 'object' || value === null || depth > MAX_FIELD_DEPTH) return value;
  if (Array.isArray(value)) return value.map((item) => withoutNulls(item, depth + 1));
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, field]) => field !== null)
      .map(([name, field]) => [name, withoutNulls(field, depth + 1)]),
  );
}

export function isJson(mediaType: string): boolean {
  return mediaType.split(',').every((one) => JSON_TYPE.test(one.trim()));
}

/**
 * Detects the encoding by its byte order mark, or by a zero next to the first character, which is ASCII in any JSON.
 */
function isUtf16([first, second]: Uint8Array): boolean {
  const isMarked = (first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff);
  return isMarked || (first === 0) !== (second === 0);
}

function unsupported(message: string): ApiError {
  return new ApiError(415, message, { code: 'unsupported_media_type' });
}
