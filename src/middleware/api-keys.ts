/**
 * API keys. The service knows only the SHA-256 of a key. No salt and no slow hash are needed: a key is 256 random bits,
 * which cannot be guessed, unlike a password.
 */

const KEY_BYTES = 32;

/** Lets secret scanners, and people, recognize a leaked string. */
const KEY_PREFIX = 'qs_';

/**
 * Clients of the Hugging Face Hub that send no other tokens require this and at least 34 letters or digits (llama.cpp,
 * common/hf-cache.cpp), or only this prefix (`@huggingface/hub`).
 */
const HUB_KEY_PREFIX = 'hf_';
const ALPHANUMERIC = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';
/** As many as make up 256 bits. */
const HUB_KEY_LETTERS = 43;

/** - `metrics`: GET /metrics, for monitoring, which needs no access to prompts. */
export type KeyScope = 'metrics';

export interface ApiKey {
  /** Whose key it is, for logs and rate limits. Two keys may share a name, so that one can follow the other. */
  name: string;
  /** SHA-256 of the key, 32 bytes. */
  hash: Uint8Array;
  /** The only thing that the key opens; everything when absent. */
  scope?: KeyScope;
}

/** The configured key that matches `presented`, if any. All keys are compared, whichever matches. */
export async function findKey(keys: readonly ApiKey[], presented: string): Promise<ApiKey | undefined> {
  const hash = await sha256(presented);
  let found: ApiKey | undefined;
  for (const key of keys) if (sameBytes(key.hash, hash)) found = key;
  return found;
}

/** Compares in a time that does not depend on where the bytes differ. */
export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (let i = 0; i < a.length; i++) difference |= a[i]! ^ b[i]!;
  return difference === 0;
}

interface NewKeyOptions {
  /** In the form of the Hub's tokens, for clients of the mirror. */
  forHub?: boolean;
  /** Everything when absent. */
  scope?: KeyScope;
}

/** A fresh key, and its line for `API_KEYS`. The key is not kept anywhere. */
export async function newKey(
  name: string,
  { forHub = false, scope }: NewKeyOptions = {},
): Promise<{ key: string; line: string }> {
  const key = forHub ? HUB_KEY_PREFIX + randomLetters(HUB_KEY_LETTERS) : KEY_PREFIX + randomBase64(KEY_BYTES);
  const line = `${name}:${toHex(await sha256(key))}`;
  return { key, line: scope === undefined ? line : `${line}:${scope}` };
}

/** URL-safe, without padding. */
function randomBase64(bytes: number): string {
  const base64 = btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(bytes))));
  return base64.replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '');
}

/** Each of the letters and digits with the same probability: bytes beyond their last multiple are drawn again. */
function randomLetters(length: number): string {
  const limit = 256 - (256 % ALPHANUMERIC.length);
  let letters = '';
  while (letters.length < length) {
    const [byte] = crypto.getRandomValues(new Uint8Array(1));
    if (byte! < limit) letters += ALPHANUMERIC[byte! % ALPHANUMERIC.length];
  }
  return letters;
}

async function sha256(text: string): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text)));
}

function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
