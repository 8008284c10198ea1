import { describe, expect, it } from 'vitest';
import { createApp } from '../../../src/app.ts';
import type { Completion, ConfidenceScale } from '../../../src/engine/types.ts';
import { errorOf, eventsOf, post } from '../../support/requests.ts';
import { catalogOf, helloScript, scriptedEngine } from '../../support/scripted-engine.ts';

const TEXT = 'return a + b\n\ndef sub(a, b):';

interface ShownCompletion {
  choices: { text: string }[];
  usage: { quicksilver: { confidence: number } };
}

/** @param ended fields of a completion whose tokens are known */
function setUp(confidence = -0.1, scale?: ConfidenceScale, ended: Partial<Completion> = {}) {
  const frames = [{ text: 'return a', settled: 'return a' }];
  const completion = { ...helloScript.completion, text: TEXT, confidence, finishReason: 'length' as const, ...ended };
  const scripted = scriptedEngine({ frames, completion });
  const diffusion = { ...scripted.model.diffusion!, ...(scale && { confidence: scale }) };
  const engine = { ...scripted, model: { ...scripted.model, diffusion } };
  const app = createApp(catalogOf(engine));
  const body = { model: 'nano', prompt: 'def add(a, b):\n    ' };
  return { engine, ask: (path: string, fields: object = {}) => post(app, path, { ...body, ...fields }) };
}

describe.each(['/v1/completions', '/v1/fim/completions'])('editor: true at %s', (path) => {
  it('should answer what an editor can show', async () => {
    const { ask } = setUp();
    expect(await (await ask(path, { editor: true })).json()).toMatchObject({
      choices: [{ text: 'return a + b', finish_reason: 'stop' }],
      usage: { completion_tokens: 4, quicksilver: { confidence: -0.1 } },
    });
  });

  it('should be asked for in the address as well', async () => {
    const shown = await setUp().ask(`${path}?editor=true`, { min_confidence: 0.5 });
    expect(await shown.json()).toMatchObject({ choices: [{ text: 'return a + b' }] });
    expect(await (await setUp().ask(`${path}?editor=false`)).json()).toMatchObject({ choices: [{ text: TEXT }] });
    expect(await errorOf(await setUp().ask(`${path}?editor=yes`))).toMatchObject({ status: 400, param: 'editor' });
  });

  it('should not change the text unless requested', async () => {
    const { ask } = setUp();
    expect(await (await ask(path)).json()).toMatchObject({ choices: [{ text: TEXT, finish_reason: 'length' }] });
  });

  it('should send nothing in a stream that would be taken back', async () => {
    const { ask } = setUp();
    const events = await eventsOf<{ choices: object[] }>(await ask(path, { editor: true, stream: true }));
    expect(events).toMatchObject([{ choices: [{ text: 'return a + b', finish_reason: 'stop' }] }, '[DONE]']);
  });

  it('should still show the canvas when diffusing, and end with what can be shown', async () => {
    const { ask } = setUp();
    const events = await eventsOf<object>(await ask(path, { editor: true, stream: true, diffusing: true }));
    expect(events).toMatchObject([
      { choices: [{ text: 'return a' }] },
      { choices: [{ text: 'return a + b' }] },
      '[DONE]',
    ]);
  });

  it('should say how probably the text is right where the model has a scale', async () => {
    // 1 / (1 + exp(1)) = 0.27, of the mean log-probability −0.1
    const scale = { bias: 0, mean: 10, odds: 0, open: 0, leastShown: 0.25 };
    const shown: ShownCompletion = await (await setUp(-0.1, scale).ask(path, { editor: true })).json();
    expect(shown.choices[0]!.text).toBe('return a + b');
    expect(Math.exp(shown.usage.quicksilver.confidence)).toBeCloseTo(0.269, 3);
    const unsure = setUp(-0.1, { ...scale, leastShown: 0.28 });
    expect(await (await unsure.ask(path, { editor: true })).json()).toMatchObject({ choices: [{ text: '' }] });
    const asked = await unsure.ask(path, { editor: true, min_confidence: 0.26 });
    expect(await asked.json()).toMatchObject({ choices: [{ text: 'return a + b' }] });
    // without the rules of editors the confidence stays the mean
    const plain: ShownCompletion = await (await setUp(-0.1, scale).ask(path)).json();
    expect(plain.usage.quicksilver.confidence).toBe(-0.1);
  });

  it('should count how sure the end of the text was', async () => {
    const scale = { bias: 0, mean: 0, odds: 1, open: -2, leastShown: 0 };
    const tokens = ['return', ' a', ' + b', '\n\ndef sub(a, b):'].map((text) => ({ text, logProbability: -0.1 }));
    const confidenceOf = async (end: Partial<Completion>) => {
      const answer = await setUp(-0.1, scale, { tokens, ...end }).ask(path, { editor: true });
      const shown: ShownCompletion = await answer.json();
      return Math.exp(shown.usage.quicksilver.confidence);
    };
    // The probability of the three tokens that are shown and of the end, as the logistic function of its log-odds.
    expect(await confidenceOf({ endLogProbability: -0.5 })).toBeCloseTo(Math.exp(-0.3 - 0.5), 6);
    expect(await confidenceOf({ endLogProbability: -3 })).toBeCloseTo(Math.exp(-0.3 - 3), 6);
    // Nothing ended it.
    const odds = Math.exp(-0.3) / (1 - Math.exp(-0.3));
    expect(await confidenceOf({})).toBeCloseTo(1 / (1 + Math.exp(2) / odds), 6);
  });

  it('should show nothing below the confidence that is asked for', async () => {
    // exp(-0.1) = 0.905
    const unsure = await setUp().ask(path, { editor: true, min_confidence: 0.91 });
    expect(await unsure.json()).toMatchObject({ choices: [{ text: '', finish_reason: 'stop' }] });
    const sure = await setUp().ask(path, { editor: true, min_confidence: 0.9 });
    expect(await sure.json()).toMatchObject({ choices: [{ text: 'return a + b' }] });
  });

  it('should show nothing of low confidence, unless requested', async () => {
    expect(await (await setUp(-3).ask(path, { editor: true })).json()).toMatchObject({ choices: [{ text: '' }] });
    const all = await setUp(-3).ask(path, { editor: true, min_confidence: 0 });
    expect(await all.json()).toMatchObject({ choices: [{ text: 'return a + b' }] });
  });

  it('should stop the engine at the end of the line when text follows the cursor', async () => {
    const { ask, engine } = setUp();
    await ask(path, { editor: true, suffix: ')\n', stop: ';' });
    await ask(path, { editor: true, suffix: '\n)\n', stop: ';' });
    expect(engine.requests.map(({ stop }) => stop)).toEqual([[';', '\n'], [';']]);
  });

  it('should refuse a threshold that nothing would apply', async () => {
    expect(await errorOf(await setUp().ask(path, { min_confidence: 0.5 }))).toMatchObject({
      status: 400,
      param: 'min_confidence',
    });
  });
});
