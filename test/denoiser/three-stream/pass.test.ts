/** Passes over several canvases and contexts, and over some of the slots of a canvas. */

import { describe, expect, it } from 'vitest';
import type { Denoiser, View } from '../../../src/denoiser/three-stream/denoiser.ts';
import type { KvCache } from '../../../src/denoiser/three-stream/kv-cache.ts';
import type { Predictions } from '../../../src/denoiser/transformer/predictions.ts';
import { BUILDS } from '../../assembly/builds.ts';
import { loadModel } from '../files.ts';
import { randomIds, randomModel } from '../random-model.ts';

const model = randomModel(1);
const { canvasSlots } = model.config.diffusion;
const SEVERAL_PAIRS = 8 * 2 ** 20;

/** Everything that is said about each row, copied. */
function snapshot(predictions: Predictions) {
  const { rows, candidates, ids, logits, logSumExp } = predictions;
  return Array.from({ length: rows }, (_, row) => ({
    ids: Array.from(ids.subarray(row * candidates, (row + 1) * candidates)),
    logits: Array.from(logits.subarray(row * candidates, (row + 1) * candidates)),
    logSumExp: logSumExp[row],
    all: Array.from(predictions.allLogits(row)),
  }));
}

function fill(denoiser: Denoiser, context: KvCache, ids: readonly number[]): KvCache {
  context.truncate(0);
  for (let at = 0; at < ids.length; at += 64) denoiser.extend(context, ids.slice(at, at + 64));
  return context;
}

describe.each(BUILDS)('a pass (%s)', async (build) => {
  const denoiser = await loadModel(model, build, SEVERAL_PAIRS);
  const { prefixContexts, suffixContexts } = denoiser;

  /** Four texts of ragged lengths, one without a suffix, one whose canvas has found its end. */
  const texts = [
    { prefix: randomIds(1, 33), suffix: randomIds(2, 17), canvas: randomIds(3, canvasSlots) },
    { prefix: randomIds(4, 9), suffix: [], canvas: randomIds(5, 5) },
    { prefix: randomIds(6, 70), suffix: randomIds(7, 3), canvas: randomIds(8, 7) },
    { prefix: randomIds(9, 2), suffix: randomIds(10, 41), canvas: randomIds(11, 1) },
  ];

  /** Views of the texts in contexts of their own, which lack the last `missing` tokens of the prefix. */
  const open = (missing = 0) =>
    texts.map(({ prefix, suffix, canvas }, index): View => {
      fill(denoiser, prefixContexts[index]!, prefix.slice(0, prefix.length - missing));
      if (suffix.length > 0) fill(denoiser, suffixContexts[index]!, suffix);
      return {
        prefix: prefixContexts[index]!,
        suffix: suffix.length > 0 ? suffixContexts[index] : undefined,
        ids: canvas,
        width: canvasSlots,
      };
    });

  const alone = () => open().map((view) => snapshot(denoiser.pass([view], [])[0]!));

  it('should predict several canvases as each alone, to the bit', () => {
    const expected = alone();
    expect(denoiser.pass(open(), []).map(snapshot)).toEqual(expected);
    const backwards = open().reverse();
    expect(denoiser.pass(backwards, []).map(snapshot)).toEqual(expected.reverse());
  });

  it('should extend the context of a canvas in the same pass, to the bit', () => {
    const expected = alone();
    for (const missing of [1, 2]) {
      const views = open(missing);
      const reads = views.map(({ prefix }, index) => ({ context: prefix, ids: texts[index]!.prefix.slice(-missing) }));
      expect(denoiser.pass(views, reads).map(snapshot)).toEqual(expected);
      expect(views.map(({ prefix }) => Array.from(prefix.tokens))).toEqual(texts.map(({ prefix }) => prefix));
      // The appended tokens have the same keys and values as in a pass of their own.
      expect(denoiser.pass(views, []).map(snapshot)).toEqual(expected);
    }
  });

  it('should read the suffix of a canvas in the same pass, to the bit', () => {
    const [expected] = alone();
    const [view] = open();
    view!.suffix!.truncate(5);
    const reads = [{ context: view!.suffix!, ids: texts[0]!.suffix.slice(5) }];
    expect(snapshot(denoiser.pass([view!], reads)[0]!)).toEqual(expected);
  });

  it.each([[[0]], [[3]], [[0, 1, 2]], [[1, 2, 4, 7, 8, 11]], [[2, 3, 4, 5, 6, 7, 8, 9, 10]]])(
    'should predict slots %j alone as among all, to the bit, while no slot changes',
    (slots) => {
      const canvas = {};
      const [view] = open();
      const whole = snapshot(denoiser.pass([{ ...view!, canvas }], [])[0]!);
      const some = denoiser.pass([{ ...view!, canvas, slots }], [])[0]!;
      expect(some.rows).toBe(slots.length);
      expect(snapshot(some)).toEqual(slots.map((slot) => whole[slot]));
    },
  );

  it('should see the slots it does not compute as they were when it last did', () => {
    const canvas = {};
    const [view] = open();
    const before = Array.from(view!.ids);
    const after = before.map((id, slot) => (slot === 4 ? (id + 1) % 200 : id));
    const slots = [...before.keys()].filter((slot) => slot !== 4);
    const asBefore = snapshot(denoiser.pass([{ ...view!, canvas }], [])[0]!).filter((_, slot) => slot !== 4);
    expect(snapshot(denoiser.pass([{ ...view!, canvas, ids: after, slots }], [])[0]!)).toEqual(asBefore);
    const changed = snapshot(denoiser.pass([{ ...view!, canvas, ids: after }], [])[0]!);
    expect(changed.filter((_, slot) => slot !== 4)).not.toEqual(asBefore);
  });

  describe('over a run of rows', () => {
    const following = [11, 7, 200];
    const runOf = (index: number) => [20 + index, ...following];
    /** A run after each text, which lacks the last `missing` tokens of its prefix. */
    const openRun = (missing = 0) =>
      open(missing).map((view, index): View => ({ ...view, ids: runOf(index), rowsBefore: 0 }));
    const readsOf = (views: readonly View[], missing: number) =>
      missing === 0
        ? []
        : views.map(({ prefix }, index) => ({ context: prefix, ids: texts[index]!.prefix.slice(-missing) }));
    /** Each row in a pass of its own. */
    const oneByOne = () =>
      openRun().map((view) =>
        Array.from(view.ids).map((id, rowsBefore) => {
          const [row] = snapshot(denoiser.pass([{ ...view, ids: [id], rowsBefore }], [])[0]!);
          expect(view.prefix.adoptRows([id])).toBe(1);
          return row;
        }),
      );

    it.each([0, 1, 2])('should predict each row as in a pass of its own, to the bit (%i tokens missing)', (missing) => {
      const expected = oneByOne();
      const views = openRun(missing);
      expect(denoiser.pass(views, readsOf(views, missing)).map(snapshot)).toEqual(expected);
    });

    it('should begin with the first row of a canvas, which sees no other', () => {
      const views = openRun();
      const alone = views.map(({ rowsBefore: _, ids, ...view }) => ({ ...view, ids: [ids[0]!] }));
      const expected = denoiser.pass(alone, []).map(snapshot);
      expect(denoiser.pass(views, []).map((predictions) => snapshot(predictions).slice(0, 1))).toEqual(expected);
    });

    it('should go on after those of its rows that are adopted', () => {
      const expected = oneByOne();
      const views = openRun();
      denoiser.pass(views, []);
      for (const [index, { prefix, ids }] of views.entries()) {
        expect(prefix.adoptRows([...Array.from(ids).slice(0, 2), 99])).toBe(2);
        expect(Array.from(prefix.tokens)).toEqual([...texts[index]!.prefix, ...Array.from(ids).slice(0, 2)]);
      }
      const rest = views.map((view) => ({ ...view, ids: Array.from(view.ids).slice(2), rowsBefore: 2 }));
      expect(denoiser.pass(rest, []).map(snapshot)).toEqual(expected.map((rows) => rows.slice(2)));
    });

    it('should see the suffix from the rows before as well', () => {
      const lastRow = ({ prefix, ids, ...view }: View) => {
        const [before, last] = [Array.from(ids).slice(0, -1), Array.from(ids).slice(-1)];
        denoiser.extend(prefix, before);
        return snapshot(denoiser.pass([{ ...view, prefix, ids: last, rowsBefore: before.length }], [])[0]!)[0];
      };
      const rows = oneByOne();
      const read = openRun().map(lastRow);
      const same = read.map((row, index) => JSON.stringify(row) === JSON.stringify(rows[index]!.at(-1)));
      expect(same).toEqual(texts.map(({ suffix }) => suffix.length === 0));
    });

    it('should have nothing to adopt once the prefix has changed', () => {
      const [view] = openRun();
      denoiser.pass([view!], []);
      expect(view!.prefix.adoptRows([99])).toBe(0);
      denoiser.extend(view!.prefix, [99]);
      expect(view!.prefix.adoptRows(runOf(0))).toBe(0);
      view!.prefix.truncate(3);
      expect(view!.prefix.adoptRows(runOf(0))).toBe(0);
    });

    it('should be refused where it does not fit', () => {
      const [view] = openRun();
      const room = view!.prefix.capacity - view!.prefix.length;
      expect(() => denoiser.pass([{ ...view!, ids: randomIds(1, room + 1) }], [])).toThrow(RangeError);
      expect(() => denoiser.pass([{ ...view!, ids: randomIds(1, 65) }], [])).toThrow(RangeError);
      expect(denoiser.pass([view!], [])[0]!.rows).toBe(4);
    });
  });

  it('should refuse to leave out slots that nothing is known of', () => {
    const [view, other] = open();
    const canvas = {};
    const some = { ...view!, canvas, slots: [0, 1] };
    expect(() => denoiser.pass([some], [])).toThrow('never computed');
    denoiser.pass([{ ...view!, canvas: {} }], []);
    expect(() => denoiser.pass([some], [])).toThrow('never computed');
    denoiser.pass([{ ...view!, canvas, ids: view!.ids }], []);
    expect(denoiser.pass([some], [])[0]!.rows).toBe(2);
    const reads = [{ context: view!.prefix, ids: [7] }];
    expect(() => denoiser.pass([some], reads)).toThrow('never computed');
    denoiser.extend(view!.prefix, [7]);
    expect(() => denoiser.pass([some], [])).toThrow('never computed');
    denoiser.pass([{ ...other!, canvas, ids: texts[1]!.canvas.slice(0, 3) }], []);
    expect(() => denoiser.pass([{ ...other!, canvas, slots: [0] }], [])).toThrow('never computed');
  });

  it('should refuse contexts that are written twice, and more rows than it has', () => {
    const [view, other] = open();
    const read = { context: other!.prefix, ids: [7] };
    expect(() => denoiser.pass([view!, view!], [])).toThrow('one prefix');
    expect(() => denoiser.pass([], [read, read])).toThrow('read into twice');
    expect(() => denoiser.pass([{ ...view!, slots: [] }], [])).toThrow('no slot');
    const long = prefixContexts.slice(0, 3).map((context, index) => ({
      context: fill(denoiser, context, [index]),
      ids: randomIds(index, 64),
    }));
    expect(() => denoiser.pass([], long)).toThrow(`a pass has at most ${denoiser.maxRows}`);
    expect(prefixContexts[0]!.length).toBe(1);
  });
});
