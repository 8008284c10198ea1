/**
 * API keys. The service knows only the SHA-256 of a key. No salt and no slow hash are needed: a key is 256 random bits, which nobody
 * can guess, unlike a password.
 */

const KEY_BYTES = 32;

/** Lets secret scanners, and people, tell what a leaked string is. */
const KEY_PREFIX = 'qs_';

export interface ApiKey {
  /** Whose key it is, for logs and rate limits. Two keys may share a name, so that one can follow the other. */
  name: string;
  /** SHA-256 of the key, 32 bytes. */
  hash: Uint8Array;
}

/** The configured key that `presented` is, if any. All keys are compared, whichever matches. */
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

/** A fresh key, and its line for `API_KEYS`. The key is not kept anywhere. */
export async function newKey(name: string): Promise<{ key: string; line: string }> {
  const random = crypto.getRandomValues(new Uint8Array(KEY_BYTES));
  const base64 = btoa(String.fromCharCode(...random));
  const key = KEY_PREFIX + base64.replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '');
  return { key, line: `${name}:${toHex(await sha256(key))}` };
}

async function sha256(text: string): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text)));
}

function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
