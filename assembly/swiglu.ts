/** SwiGLU (arXiv 2002.05202): silu(gate) · up with silu(g) = g / (1 + exp(-g)). */
import { exp } from './exp';
import { quantizeRow } from './quantize';

/** The largest argument of exp that stays finite; silu(-87) is below 1e-35, which is negligible. */
const LARGEST: f32 = 87;

/** gateUp (rows, 2k: k gates, then k ups) → activation block a of (rows, k). The products overwrite the gates. */
export function swigluQuantizeRows(gateUp: usize, rows: i32, k: i32, a: usize): void {
  const one = f32x4.splat(1);
  const largest = f32x4.splat(LARGEST);
  const kBytes = <usize>k << 2;
  for (let row = 0; row < rows; row++) {
    const gates = gateUp + 2 * row * kBytes;
    const end = gates + kBytes;
    for (let at = gates; at < end; at += 16) {
      const gate = v128.load(at);
      const silu = f32x4.div(gate, f32x4.add(one, exp(f32x4.pmin(largest, f32x4.neg(gate)))));
      v128.store(at, f32x4.mul(silu, v128.load(at + kBytes)));
    }
    quantizeRow(gates, 0, 1, k, a, rows, row);
  }
}
