/** Embedding lookup in a packed u7 matrix, which can also be the head's. */
import { PANEL, rowScales } from './layout';

const ZERO_POINT: i32 = 64;

/** x (rows, k) = rows ids (i32 (rows), each in [0, n)) of w (n, k). */
export function embedRows(ids: usize, rows: i32, w: usize, n: i32, k: i32, x: usize): void {
  const zeroPoint = i32x4.splat(ZERO_POINT);
  for (let row = 0; row < rows; row++) {
    const id = load<i32>(ids + (row << 2));
    const scale = v128.load32_splat(rowScales(w, n, k) + (id << 2));
    const column = id % PANEL;
    let quad = w + (id - column) * k + (column << 2);
    for (let i = 0; i < k; i += 4) {
      const values_i32x4 = i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(v128.load32_zero(quad)));
      v128.store(x, f32x4.mul(f32x4.convert_i32x4_s(i32x4.sub(values_i32x4, zeroPoint)), scale));
      quad += PANEL * 4;
      x += 16;
    }
  }
}
