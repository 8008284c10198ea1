/** Random numbers by counter: the draw of a slot in a step does not depend on earlier draws. */

/** A number in [0, 1) from a 32-bit seed and the step and slot it is for. */
export function uniform(seed: number, step: number, slot: number): number {
  return mix(mix(mix(seed) ^ step) ^ slot) / 2 ** 32;
}

/** The finalizer of MurmurHash3 after an odd increment, so that 0 does not stay 0: a bijection of 32 bits. */
function mix(value: number): number {
  let h = (value + 0x9e3779b9) | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
