/** Biases of linear layers; the three-stream denoiser has none, Qwen2's projections to queries, keys and values do. */

/** x (rows of stride rowStride; n) += bias (n). n is a multiple of 4. */
export function addBias(x: usize, rows: i32, rowStride: i32, n: i32, bias: usize): void {
  for (let row = 0; row < rows; row++) {
    for (let i = 0; i < n << 2; i += 16) {
      v128.store(x + i, f32x4.add(v128.load(x + i), v128.load(bias + i)));
    }
    x += rowStride << 2;
  }
}
