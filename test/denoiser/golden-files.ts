/** Vectors that training/ has written, and how far something is from them. */

import { readFileSync } from 'node:fs';

export function readJson<T>(url: URL): T {
  return JSON.parse(readFileSync(url, 'utf8'));
}

/** The float tensors of a safetensors file by name, flat. */
export function readFloatTensors(url: URL): ReadonlyMap<string, number[]> {
  const file = readFileSync(url);
  const headerBytes = Number(file.readBigUInt64LE(0));
  const header: Record<string, { dtype?: string; data_offsets: [number, number] }> = JSON.parse(
    file.toString('utf8', 8, 8 + headerBytes),
  );
  const floats = Object.entries(header).filter(([, { dtype }]) => dtype === 'F32');
  return new Map(
    floats.map(([name, { data_offsets }]) => {
      const [begin, end] = data_offsets.map((offset) => 8 + headerBytes + offset);
      const values = new Float32Array(file.buffer.slice(file.byteOffset + begin!, file.byteOffset + end!));
      return [name, Array.from(values)];
    }),
  );
}

/** Root-mean-square error over root-mean-square value. */
export function relativeError(actual: readonly number[], expected: readonly number[]): number {
  const squares = (values: readonly number[]) => values.reduce((sum, value) => sum + value * value, 0);
  return Math.sqrt(squares(actual.map((value, i) => value - expected[i]!)) / squares(expected));
}
