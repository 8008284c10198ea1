import { describe, expect, it } from 'vitest';
import { withoutTurns } from '../../../src/api/dialects/sdk-turns.ts';
import { createApp } from '../../../src/app.ts';
import { post } from '../../support/requests.ts';
import { catalogOf, scriptedEngine } from '../../support/scripted-engine.ts';

const stop = ['\nuser:'];
const framed = (text: string) => `user:\n${text}\n\nassistant:\n`;

describe('the turns that an SDK puts around a prompt', () => {
  it.each(['def add(a, b):\n    return ', '', '\n\n', 'user:\nx'])('should be taken off %j', (text) => {
    expect(withoutTurns(framed(text), stop)).toBe(text);
  });

  it.each([
    [framed('a'), ['\n\n']],
    [`Be brief.\n\n${framed('a')}`, stop],
    [`user:\na\n\nassistant:\nb\n\n${framed('c')}`, stop],
    ['user:\nassistant:\n', stop],
    ['user:\na', stop],
  ])('should be left where they are the text: %j with %j', (prompt, stopStrings) => {
    expect(withoutTurns(prompt, stopStrings)).toBe(prompt);
  });

  it('should not reach the model', async () => {
    const engine = scriptedEngine();
    await post(createApp(catalogOf(engine)), '/v1/completions', {
      model: 'nano',
      prompt: framed('a = '),
      suffix: '\nb',
      stop,
    });
    expect(engine.requests).toMatchObject([{ prefix: 'a = ', suffix: '\nb' }]);
  });
});
