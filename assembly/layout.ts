/**
 * The memory layout: the kernels' own constants and scratch, and the parts of an activation block and of
 * packed weights.
 *
 * The memory is imported and belongs to the host, which allocates from `heapBase` on. Below it lie static data
 * (`memory.data`) at constant addresses. An engine with explicit bounds checks drops the check of a constant address,
 * and an accumulator kept there costs less than one that does not fit the 16 vector registers. No scratch there
 * outlives a call.
 */

/** First byte that is the host's. */
export const heapBase: usize = __heap_base;

/** Weights that share a scale: 32 neighbours of one row, along k. */
export const GROUP: i32 = 32;

/** Outputs in a panel of packed weights. */
export const PANEL: i32 = 8;

/** Tokens in a block of a key/value cache. */
export const BLOCK: i32 = 32;

/** Tokens in a tile of keys. */
export const TILE: i32 = 8;

@inline
export function alignUp(bytes: i32, alignment: i32): i32 {
  return (bytes + alignment - 1) & -alignment;
}

// Activation block of (rows, k): rows in groups of four, then up to three single rows (plain):
//   int8  values     [rows/4][k/4][4 rows][4 k]   plain: [k]
//   f32   scales     [rows]
//   i32   row sums   [rows]              -64 · Σ q: what zero point 64 of u7 weights adds to a dot product
//   i16×2 group sums [rows/4][k/32][4]   plain: [k/32]
//                                        -8 · Σ q over a group, k % 4 in {0, 1} and in {2, 3} apart: the same for u4

export function activationBytes(rows: i32, k: i32): i32 {
  return alignUp(rows * k + rows * 4 + rows * 4 + rows * (k / GROUP) * 4, 16);
}

/** Rows of an activation block that are stored in groups of four. */
@inline
export function rowsInFours(rows: i32): i32 {
  return rows & -4;
}

@inline
export function activationScales(a: usize, rows: i32, k: i32): usize {
  return a + rows * k;
}

@inline
export function activationRowSums(a: usize, rows: i32, k: i32): usize {
  return activationScales(a, rows, k) + rows * 4;
}

@inline
export function activationGroupSums(a: usize, rows: i32, k: i32): usize {
  return activationRowSums(a, rows, k) + rows * 4;
}

// Packed u4 matrix of (n, k): one stream of weights and their scales, in the order in which a row is multiplied
//   [n/16][k/32][2 panels] groups of a panel, each
//     weights       [4 chunks][8 n][4 bytes]: byte i of chunk c holds weight 8c + i (low nibble) and 8c + 4 + i (high)
//     bf16 scales   [8 n]
//   An odd last panel has no neighbour: its place is empty.

/** Bytes of one group of a panel: 8 outputs × 32 weights × 4 bits, 8 scales. */
export const PANEL_GROUP_BYTES: i32 = 144;
/** From one group of a panel to the next one: its neighbour's lies between. */
export const PANEL_GROUP_STRIDE: i32 = 2 * PANEL_GROUP_BYTES;
/** Where the scales are in a group of a panel. */
export const PANEL_GROUP_SCALES: i32 = 128;

export function packedU4Bytes(n: i32, k: i32): i32 {
  return (alignUp(n, 2 * PANEL) / PANEL) * (k / GROUP) * PANEL_GROUP_BYTES;
}

/** The first group of the panel with output `n`, a multiple of 8. */
@inline
export function panelOf(w: usize, n: i32, k: i32): usize {
  const panel = n / PANEL;
  return w + (panel >> 1) * (k / GROUP) * PANEL_GROUP_STRIDE + (panel & 1) * PANEL_GROUP_BYTES;
}

// Packed u7 matrix of (n, k):
//   panels [n/8][k/4][8 n][4 k] of bytes 0..127, stored value = weight + 64
//   f32 scales [n]

export function packedU7Bytes(n: i32, k: i32): i32 {
  return alignUp(n * k + n * 4, 16);
}

@inline
export function rowScales(w: usize, n: i32, k: i32): usize {
  return w + n * k;
}

// Query block of (rows, headDim), rows rounded up to a multiple of 4:
//   int8 values [rows/4][headDim/4][4 rows][4 d]
//   f32  scales [rows]
//   i32  sums   [rows]   -64 · Σ q: what zero point 64 of the keys adds to a dot product

export function queryBytes(rows: i32, headDim: i32): i32 {
  const padded = alignUp(rows, 4);
  return padded * headDim + padded * 8;
}

@inline
export function queryScales(queries: usize, rows: i32, headDim: i32): usize {
  return queries + alignUp(rows, 4) * headDim;
}

@inline
export function querySums(queries: usize, rows: i32, headDim: i32): usize {
  return queryScales(queries, rows, headDim) + alignUp(rows, 4) * 4;
}

// Block of one key/value head, 32 tokens:
//   keys         [4 tiles][headDim/4][8 tokens][4 d] of bytes 1..127, stored value = key + 64
//   int8 values  [headDim/8][8 quads of tokens][8 d][4 tokens]
//   f32  scales  [32] of the keys, then [32] of the values
// The blocks of a context lie anywhere: a page has those of all layers and heads for the same tokens. The table of a
// context (u32) has the address of each of its pages, and every head its place in a page.

export function blockBytes(headDim: i32): i32 {
  return 2 * BLOCK * headDim + 2 * BLOCK * 4;
}

/** The block of a head at `place` in page `index` of a table. */
@inline
export function blockAt(pages: usize, place: i32, index: i32): usize {
  return <usize>load<u32>(pages + (index << 2)) + place;
}

@inline
export function blockValues(block: usize, headDim: i32): usize {
  return block + BLOCK * headDim;
}

@inline
export function blockKeyScales(block: usize, headDim: i32): usize {
  return block + 2 * BLOCK * headDim;
}

@inline
export function blockValueScales(block: usize, headDim: i32): usize {
  return blockKeyScales(block, headDim) + BLOCK * 4;
}
