import { describe, expect, it } from 'vitest';
import { EventFramer } from '../../src/backend/sse.ts';

const bytesOf = (text: string) => new TextEncoder().encode(text);
const textOf = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

describe('EventFramer', () => {
  it.each(['\n', '\r\n', '\r'])('should give whole events at every cut of a stream whose lines end in %j', (eol) => {
    const events = [`data: 1${eol}${eol}`, `event: a${eol}data: 2${eol}data: 3${eol}${eol}`, `: comment${eol}${eol}`];
    const stream = events.join('');
    const boundaries = events.map((_, i) => events.slice(0, i + 1).join('').length);
    for (let cut = 0; cut <= stream.length; cut++) {
      const framer = new EventFramer();
      const before = textOf(framer.push(bytesOf(stream.slice(0, cut))));
      // Half of a CR LF that ends an event may be sent early: the other half follows at once.
      const isWhole = [0, ...boundaries].some((end) => end === before.length || end - 1 === before.length);
      expect(isWhole).toBe(true);
      expect(framer.heldBytes).toBe(cut - before.length);
      expect(before + textOf(framer.push(bytesOf(stream.slice(cut))))).toBe(stream);
      expect(framer.heldBytes).toBe(0);
    }
  });

  it('should take an event of 16 MiB in small chunks without copying it each time', () => {
    const framer = new EventFramer();
    const chunk = new Uint8Array(64).fill(97);
    // Copying everything with every chunk would move 2 TiB, and not end before the test's limit.
    for (let i = 0; i < 2 ** 18; i++) framer.push(chunk);
    expect(framer.push(bytesOf('\n\n'))).toHaveLength(2 ** 24 + 2);
  });

  it('should hold an event until its last byte, byte by byte', () => {
    const framer = new EventFramer();
    const given = [...bytesOf('data: é\n\nx')].map((byte) => textOf(framer.push(Uint8Array.of(byte))));
    expect(given.filter((text) => text !== '')).toEqual(['data: é\n\n']);
    expect(framer.heldBytes).toBe(1);
  });
});
