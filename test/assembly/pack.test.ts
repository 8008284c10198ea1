import { describe, expect, it } from 'vitest';
import { BUILDS, emptyWorkbench, type Workbench } from './builds.ts';
import { nibbles, Random } from './oracle.ts';

function packU4(
  bench: Workbench,
  weights: Int32Array,
  scales: Float32Array,
  n: number,
  k: number,
  step: number,
): Uint8Array {
  const w = bench.bytes(bench.kernels.packedU4Bytes(n, k));
  for (let row = 0; row < n; row += step) {
    const count = Math.min(step, n - row);
    const source = bench.bytes((count * k) / 2);
    source.view.set(nibbles(weights.subarray(row * k, (row + count) * k)));
    const sourceScales = bench.bfloat16(scales.subarray((row * k) / 32, ((row + count) * k) / 32));
    bench.kernels.packU4(source.at, count, k, row, w.at);
    bench.kernels.packU4Scales(sourceScales.at, count, k, row, w.at);
  }
  return w.view;
}

function packU7(
  bench: Workbench,
  weights: Int32Array,
  scales: Float32Array,
  n: number,
  k: number,
  step: number,
): Uint8Array {
  const w = bench.bytes(bench.kernels.packedU7Bytes(n, k));
  for (let row = 0; row < n; row += step) {
    const count = Math.min(step, n - row);
    const source = bench.bytes(count * k);
    source.view.set(weights.subarray(row * k, (row + count) * k));
    const sourceScales = bench.bfloat16(scales.subarray(row, row + count));
    bench.kernels.packU7(source.at, count, k, row, w.at);
    bench.kernels.packU7Scales(sourceScales.at, count, k, n, row, w.at);
  }
  return w.view;
}

describe.each(BUILDS)('packing (%s)', (build) => {
  for (const [n, k] of [
    [8, 32],
    [16, 96],
    [24, 64],
    [40, 704],
  ] as const) {
    it(`should lay out a 4-bit matrix of (${n}, ${k})`, () => {
      const random = new Random(n + k);
      const weights = random.integers(n * k, -8, 7);
      const scales = random.scales((n * k) / 32);
      const packed = packU4(emptyWorkbench(build), weights, scales, n, k, n);
      const scaleBits = new Uint32Array(scales.buffer);
      // Pairs of panels, of which each group has 128 bytes of weights and 8 scales.
      const groupOf = (column: number, group: number) =>
        (Math.floor(column / 16) * (k / 32) + group) * 288 + (Math.floor(column / 8) % 2) * 144;
      for (let column = 0; column < n; column++) {
        for (let i = 0; i < k; i++) {
          const chunk = groupOf(column, Math.floor(i / 32)) + Math.floor((i % 32) / 8) * 32;
          const byte = packed[chunk + (column % 8) * 4 + (i % 4)]!;
          expect(i % 8 < 4 ? byte & 15 : byte >> 4).toBe(weights[column * k + i]! + 8);
        }
        for (let group = 0; group < k / 32; group++) {
          const at = groupOf(column, group) + 128 + (column % 8) * 2;
          const bits = (packed[at]! << 16) | (packed[at + 1]! << 24);
          expect(bits >>> 0).toBe(scaleBits[column * (k / 32) + group]);
        }
      }
    });

    it(`should lay out a 7-bit matrix of (${n}, ${k})`, () => {
      const random = new Random(n + k);
      const weights = random.integers(n * k, -64, 63);
      const scales = random.scales(n);
      const packed = packU7(emptyWorkbench(build), weights, scales, n, k, n);
      for (let column = 0; column < n; column++) {
        const panel = Math.floor(column / 8);
        for (let i = 0; i < k; i++) {
          const byte = packed[((panel * (k / 4) + Math.floor(i / 4)) * 8 + (column % 8)) * 4 + (i % 4)]!;
          expect(byte).toBe(weights[column * k + i]! + 64);
        }
      }
      expect(new Float32Array(packed.buffer, packed.byteOffset + n * k, n)).toEqual(scales);
    });
  }

  it('should give the same bytes when the rows arrive in pieces', () => {
    const [n, k] = [40, 64];
    const random = new Random(3);
    const bench = emptyWorkbench(build);
    const u4 = random.integers(n * k, -8, 7);
    const u4Scales = random.scales((n * k) / 32);
    expect(packU4(bench, u4, u4Scales, n, k, 16)).toEqual(packU4(bench, u4, u4Scales, n, k, n));
    const u7 = random.integers(n * k, -64, 63);
    const u7Scales = random.scales(n);
    expect(packU7(bench, u7, u7Scales, n, k, 8)).toEqual(packU7(bench, u7, u7Scales, n, k, n));
  });
});
