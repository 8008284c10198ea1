/** The race of two decoders is one: both have the same text, the same settings and the same rule to stop. */
import { describe, expect, it } from 'vitest';
import { raceChoices, raceRequests, raceRules } from '../../playground/src/runs.ts';
import type { ModelInfo } from '../../playground/src/service/completions.ts';
import { bodyOf } from '../../playground/src/service/request.ts';

const choices = {
  maxTokens: 32,
  temperature: 0,
  seed: 1,
  revealThreshold: 0.2,
  editThreshold: 0.8,
  maxSteps: undefined,
  canvasWidth: 16,
};

describe('the race', () => {
  it.each([
    ['in a line', 'a = ', ';\n}\n', ['\n'], 'at the end of the line'],
    ['in an empty line', '{\n  ', '\n}\n', ['\n'], 'at the end of the line'],
    ['at the end of a line', 'a = ', '\n}\n', undefined, 'after 16 tokens'],
  ])('should stop both decoders by one rule %s, and say which', (_, prefix, suffix, stop, words) => {
    const cursor = { prefix, suffix };
    const [diffusion, autoregressive] = raceRequests('nano', cursor, choices).map(bodyOf);
    for (const body of [diffusion!, autoregressive!]) {
      expect(body.stop).toEqual(stop);
      expect(body.max_tokens).toBe(16);
      expect(body.prompt).toBe(prefix);
    }
    expect(diffusion).toMatchObject({ suffix, canvas_width: 16 });
    expect(autoregressive).toMatchObject({ decoding: 'autoregressive' });
    expect(autoregressive).not.toHaveProperty('suffix');
    expect(raceRules(cursor, 'nano', choices)).toContain(words);
  });

  it('should say which model it shows, and from which confidence on that fills and edits', () => {
    const rules = (settings: object) => raceRules({ prefix: '', suffix: '' }, 'nano', { ...choices, ...settings });
    expect(rules({}).replaceAll('\u00a0', ' ')).toContain(
      'nano fills slots from 20 % on, and edits them from 80 % on.',
    );
    expect(rules({ editThreshold: 1 })).toContain('never edits them.');
  });

  it('should be decoded as the user chose, else as written down for the model, else as the model does', () => {
    const model = { id: 'nano', revealThreshold: 0.5, editThreshold: 0.6 } as ModelInfo;
    const written = { model: 'nano', canvasWidth: 16, revealThreshold: 0.3, editThreshold: 0.4 };
    const open = { ...choices, revealThreshold: undefined, editThreshold: undefined };
    expect(raceChoices(model, written, { ...open, editThreshold: 1 }, 8)).toMatchObject({
      ...{ canvasWidth: 8, revealThreshold: 0.3, editThreshold: 1 },
    });
    expect(raceChoices({ ...model, id: 'small' }, written, open, 8)).toMatchObject({
      ...{ revealThreshold: 0.5, editThreshold: 0.6 },
    });
  });
});
