import { describe, expect, it } from 'vitest';
import { parseConfig } from '../../../src/denoiser/three-stream/config.ts';
import { ConfigError } from '../../../src/denoiser/transformer/shape.ts';
import { SAMPLE_CONFIG } from '../random-model.ts';

const without = (key: string) => Object.fromEntries(Object.entries(SAMPLE_CONFIG).filter(([name]) => name !== key));

describe('parseConfig', () => {
  it('should read shapes and limits', () => {
    expect(parseConfig(SAMPLE_CONFIG)).toEqual({
      hiddenSize: 96,
      layers: 3,
      heads: 4,
      kvHeads: 2,
      headDim: 64,
      ffnSize: 160,
      vocabSize: 272,
      normEps: 1e-6,
      ropeTheta: 10_000,
      maxPositions: 256,
      hasTiedHead: true,
      hasBiases: false,
      hasQkNorm: true,
      diffusion: {
        isShifted: false,
        suffixOrder: 'backward',
        endsBeforeSuffix: false,
        keepsRows: false,
        canvasSlots: 12,
        canvasWidths: [12],
        canvasWidth: 12,
        prefixTokens: 160,
        suffixTokens: 80,
        revealThreshold: 0.9,
        editThreshold: 0.9,
        maxEditsPerSlot: 2,
      },
    });
  });

  it('should read how the streams of a shifted model go', () => {
    const diffusion = { ...SAMPLE_CONFIG.diffusion, shifted: true, suffix_order: 'forward' };
    const config = parseConfig({ ...SAMPLE_CONFIG, qk_norm: false, diffusion });
    expect(config).toMatchObject({ hasQkNorm: false, diffusion: { isShifted: true, suffixOrder: 'forward' } });
  });

  it('should read whether rows are kept, which only shifted models with canvases of one slot can', () => {
    const { canvas_slots } = SAMPLE_CONFIG.diffusion;
    const keeping = { ...SAMPLE_CONFIG.diffusion, keeps_rows: true };
    const shifted = { ...keeping, shifted: true, canvas_widths: [1, canvas_slots] };
    expect(parseConfig({ ...SAMPLE_CONFIG, diffusion: shifted }).diffusion.keepsRows).toBe(true);
    for (const diffusion of [keeping, { ...shifted, shifted: false }, { ...shifted, canvas_widths: [canvas_slots] }]) {
      expect(() => parseConfig({ ...SAMPLE_CONFIG, diffusion })).toThrow('keeps_rows');
    }
  });

  it('should read where completions end', () => {
    const ending = { ...SAMPLE_CONFIG.diffusion, ends_before_suffix: true };
    expect(parseConfig(SAMPLE_CONFIG).diffusion.endsBeforeSuffix).toBe(false);
    expect(parseConfig({ ...SAMPLE_CONFIG, diffusion: ending }).diffusion.endsBeforeSuffix).toBe(true);
  });

  it('should read the widths of canvas it was trained on', () => {
    const diffusion = { ...SAMPLE_CONFIG.diffusion, canvas_widths: [12, 4, 12] };
    expect(parseConfig({ ...SAMPLE_CONFIG, diffusion }).diffusion.canvasWidths).toEqual([4, 12]);
  });

  it.each([
    [
      'widths without the widest canvas',
      { ...SAMPLE_CONFIG, diffusion: { ...SAMPLE_CONFIG.diffusion, canvas_widths: [4, 8] } },
      'canvas_widths is 8',
    ],
    ['no object', 'text', 'expected object'],
    ['a missing key', without('rope_theta'), 'rope_theta'],
    ['another model', { ...SAMPLE_CONFIG, model_type: 'qwen3' }, 'model_type'],
    [
      'an order of the suffix that it does not know',
      { ...SAMPLE_CONFIG, diffusion: { ...SAMPLE_CONFIG.diffusion, suffix_order: 'sideways' } },
      'diffusion.suffix_order',
    ],
    ['biases', { ...SAMPLE_CONFIG, attention_bias: true }, 'attention_bias'],
    ['a width that is no multiple of a group', { ...SAMPLE_CONFIG, hidden_size: 100 }, 'hidden_size'],
    ['heads that do not divide', { ...SAMPLE_CONFIG, num_key_value_heads: 3 }, 'num_key_value_heads 3'],
    ['too few positions', { ...SAMPLE_CONFIG, max_position_embeddings: 172 }, 'take 173 positions'],
    [
      'a threshold above 1',
      { ...SAMPLE_CONFIG, diffusion: { ...SAMPLE_CONFIG.diffusion, reveal_threshold: 1.1 } },
      'diffusion.reveal_threshold',
    ],
  ])('should refuse %s by name', (_, json, named) => {
    expect(() => parseConfig(json)).toThrow(ConfigError);
    expect(() => parseConfig(json)).toThrow(named);
  });
});
