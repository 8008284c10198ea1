/** Order statistics of samples. */

/** The value that about a share of the others, from 0 to 1, are below: always one of them. NaN if there are none. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
}

/** The upper one of the two in the middle if their number is even. NaN if there are none. */
export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}
