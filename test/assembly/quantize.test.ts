import { describe, expect, it } from 'vitest';
import { BUILDS, emptyWorkbench, onBoth, type Workbench } from './builds.ts';
import { activationIndex, quantize, Random } from './oracle.ts';

const ROWS = [1, 2, 4, 7, 12, 32];
const K = [32, 64, 96, 256, 704];

/** Bytes of the activation block of x. */
function quantizeOn(bench: Workbench, x: Float32Array, rows: number, k: number): Uint8Array {
  const length = bench.kernels.activationBytes(rows, k);
  const a = bench.bytes(length);
  a.view.fill(0); // the padding at the end
  bench.kernels.quantizeRows(bench.floats(x).at, rows, k, a.at);
  return a.view.slice();
}

function expectedBlock(x: Float32Array, rows: number, k: number, length: number): Uint8Array {
  const { q, scales } = quantize(x, rows, k);
  const block = new DataView(new ArrayBuffer(length));
  const groups = k / 32;
  for (let row = 0; row < rows; row++) {
    let rowSum = 0;
    const scalesAt = rows * k;
    const rowSumsAt = scalesAt + rows * 4;
    const groupSumsAt = rowSumsAt + rows * 4;
    for (let group = 0; group < groups; group++) {
      const pairSums = [0, 0];
      for (let i = group * 32; i < group * 32 + 32; i++) {
        const value = q[row * k + i]!;
        block.setInt8(activationIndex(row, i, rows, k), value);
        pairSums[i % 4 < 2 ? 0 : 1]! += value;
        rowSum += value;
      }
      const block4 = row < rows - (rows % 4) ? 4 : 1;
      const first = row - (row % block4);
      const at = groupSumsAt + (first * groups + group * block4 + (row - first)) * 4;
      block.setInt16(at, -8 * pairSums[0]!, true);
      block.setInt16(at + 2, -8 * pairSums[1]!, true);
    }
    block.setFloat32(scalesAt + row * 4, scales[row]!, true);
    block.setInt32(rowSumsAt + row * 4, -64 * rowSum, true);
  }
  return new Uint8Array(block.buffer);
}

describe.each(BUILDS)('quantizeRows (%s)', (build) => {
  for (const rows of ROWS) {
    for (const k of K) {
      it(`should give the bytes of the scalar version for ${rows} rows of ${k}`, () => {
        const x = new Random(rows * 1000 + k).floats(rows * k, 3);
        const actual = quantizeOn(emptyWorkbench(build), x, rows, k);
        expect(actual).toEqual(expectedBlock(x, rows, k, actual.length));
      });
    }
  }

  it('should give a zero row scale 0, values 0 and sums 0 next to other rows', () => {
    const x = new Random(1).floats(4 * 64);
    x.fill(0, 64, 128);
    const actual = quantizeOn(emptyWorkbench(build), x, 4, 64);
    expect(actual).toEqual(expectedBlock(x, 4, 64, actual.length));
    expect(new Float32Array(actual.buffer, 4 * 64, 4)[1]).toBe(0);
  });

  it('should treat a row as zero whose inverse scale is not a number that float32 holds', () => {
    const x = new Float32Array(32).fill(-1e-39);
    const actual = quantizeOn(emptyWorkbench(build), x, 1, 32);
    expect(actual.every((byte) => byte === 0)).toBe(true);
  });

  it('should round ties to even', () => {
    const x = new Float32Array(32);
    x.set([127, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5]);
    const actual = quantizeOn(emptyWorkbench(build), x, 1, 32);
    expect([...new Int8Array(actual.buffer, 0, 7)]).toEqual([127, 0, 2, 2, 0, -2, -2]);
  });

  it('should hold the sums of rows that are -127 or 127 throughout', () => {
    const k = 704;
    const x = new Float32Array(4 * k).map((_, i) => (i < 2 * k ? -5 : 5));
    const actual = quantizeOn(emptyWorkbench(build), x, 4, k);
    expect(actual).toEqual(expectedBlock(x, 4, k, actual.length));
  });
});

describe('quantizeRows', () => {
  it('should give the same bytes on both builds', () => {
    const x = new Random(7).floats(32 * 704, 10);
    const { relaxed, simd } = onBoth((bench) => quantizeOn(bench, x, 32, 704));
    expect(relaxed).toEqual(simd);
  });
});
