/** An engine may compile a kernel wrongly only when it is hot, after the first probe. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { type ProbeMismatch, probe } from '../../../src/denoiser/transformer/kernel-probe.ts';
import { loadModel } from '../files.ts';
import { randomModel } from '../random-model.ts';

vi.mock('../../../src/denoiser/transformer/kernel-probe.ts', async (importActual) => ({
  ...(await importActual<object>()),
  probe: vi.fn(() => null),
}));

const MISMATCH: ProbeMismatch = { kernel: 'matmulU4', rows: 1, row: 0, column: 0, expected: 0, actual: 1 };
const PREFIX = [1, 5, 9, 7, 3];

afterEach(() => {
  vi.mocked(probe).mockReset();
});

describe('kernels that compute wrong once they are hot', () => {
  it('should be replaced by the plain build, with all that they have cached forgotten', async () => {
    const model = randomModel(1);
    vi.mocked(probe).mockReturnValue(null);
    const denoiser = await loadModel(model, 'relaxed');
    expect(denoiser.build).toBe('relaxed');
    const [prefix] = denoiser.prefixContexts;

    vi.mocked(probe).mockReturnValueOnce(MISMATCH);
    denoiser.extend(prefix!, PREFIX);
    expect(denoiser.build).toBe('simd');
    expect(prefix!.length).toBe(0);

    const plain = await loadModel(model, 'simd');
    const [same] = plain.prefixContexts;
    denoiser.extend(prefix!, PREFIX);
    plain.extend(same!, PREFIX);
    const ids = [0, 0, 0, 0];
    const logits = (one: typeof denoiser, context: typeof prefix) =>
      one.evaluate(context!, undefined, ids, ids.length).keep().logits;
    expect(logits(denoiser, prefix)).toEqual(logits(plain, same));
  });
});
