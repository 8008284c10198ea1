import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { createHash as createHashHere } from '../../playground/src/local/node-crypto.ts';

describe('the SHA-256 of browsers', () => {
  it.each([0, 1, 55, 56, 63, 64, 65, 1000])('should be that of Node for %i bytes in pieces', (length) => {
    const bytes = Uint8Array.from({ length }, (_, index) => index * 7);
    const here = createHashHere('sha256');
    for (let at = 0; at < length; at += 13) here.update(bytes.subarray(at, at + 13));
    expect(here.digest('hex')).toBe(createHash('sha256').update(bytes).digest('hex'));
  });
});
