/** Repacks weights from the order of the file (row-major) to the panels that the matrix products read (layout.ts). */
import { GROUP, PANEL, PANEL_GROUP_SCALES, PANEL_GROUP_STRIDE, panelOf, rowScales } from './layout';

/** Rows [row, row + count) of (n, k): src nibbles (count, k/2 bytes). row, count: multiples of 8. */
export function packU4(src: usize, count: i32, k: i32, row: i32, w: usize): void {
  const rowBytes = k / 2;
  for (let i = 0; i < count; i += PANEL) {
    let group = panelOf(w, row + i, k);
    for (let from = 0; from < rowBytes; from += GROUP / 2) {
      let out = group;
      for (let chunk = from; chunk < from + GROUP / 2; chunk += 4) {
        for (let column = 0; column < PANEL; column++) {
          const nibbles = load<u32>(src + (i + column) * rowBytes + chunk);
          store<u32>(out, spreadNibbles(nibbles & 0xffff) | (spreadNibbles(nibbles >>> 16) << 4));
          out += 4;
        }
      }
      group += PANEL_GROUP_STRIDE;
    }
  }
}

/** Their scales, bfloat16 (count, k/32). */
export function packU4Scales(src: usize, count: i32, k: i32, row: i32, w: usize): void {
  const groups = k / GROUP;
  for (let i = 0; i < count; i += PANEL) {
    let out = panelOf(w, row + i, k) + PANEL_GROUP_SCALES;
    for (let group = 0; group < groups; group++) {
      for (let column = 0; column < PANEL; column++) {
        store<u16>(out + (column << 1), load<u16>(src + (((i + column) * groups + group) << 1)));
      }
      out += PANEL_GROUP_STRIDE;
    }
  }
}

/** Rows [row, row + count) of (n, k): src int8 (count, k) in [-64, 63]. row, count: multiples of 8. */
export function packU7(src: usize, count: i32, k: i32, row: i32, w: usize): void {
  for (let i = 0; i < count; i += PANEL) {
    let out = w + (row + i) * k;
    for (let quad = 0; quad < k; quad += 4) {
      for (let column = 0; column < PANEL; column++) {
        // In two's complement of 7 bits, flipping the sign bit adds 64.
        store<u32>(out, (load<u32>(src + (i + column) * k + quad) ^ 0x40404040) & 0x7f7f7f7f);
        out += 4;
      }
    }
  }
}

/** Their scales, bfloat16 (count). */
export function packU7Scales(src: usize, count: i32, k: i32, n: i32, row: i32, w: usize): void {
  const out = rowScales(w, n, k) + (row << 2);
  for (let i = 0; i < count; i++) store<u32>(out + (i << 2), bfloat16(src + (i << 1)));
}

/** 0xdcba → 0x0d0c0b0a. */
@inline
function spreadNibbles(nibbles: u32): u32 {
  const pairs = (nibbles | (nibbles << 8)) & 0x00ff00ff;
  return (pairs | (pairs << 4)) & 0x0f0f0f0f;
}

/** The bits of a bfloat16 as those of a float32. */
@inline
function bfloat16(at: usize): u32 {
  return <u32>load<u16>(at) << 16;
}
