/** Why a text ended, at which stop string, and with which confidence, in every dialect that has a field for it. */
import { describe, expect, it } from 'vitest';
import { createApp } from '../../../src/app.ts';
import type { Completion } from '../../../src/engine/types.ts';
import { eventsOf, post } from '../../support/requests.ts';
import { catalogOf, helloScript, scriptedEngine, usage } from '../../support/scripted-engine.ts';

function appOf(completion: Partial<Completion>) {
  return createApp(catalogOf(scriptedEngine({ frames: [], completion: { ...helloScript.completion, ...completion } })));
}

const PROMPT = { model: 'nano', prompt: 'def f():\n    ' };
const tokensOf = (...tokens: [text: string, logProbability: number][]) =>
  tokens.map(([text, logProbability]) => ({ text, logProbability }));

describe.each(['/v1/completions', '/v1/fim/completions'])('%s', (path) => {
  it.each([
    [{ by: 'end' }, 'stop', null],
    [{ by: 'stop', stop: ';' }, 'stop', ';'],
    [{ by: 'max_tokens' }, 'length', null],
    [{ by: 'budget' }, 'length', null],
  ] as const)('should tell that a text ended by %j', async (ending, finishReason, stopReason) => {
    const fields = { finish_reason: finishReason, stop_reason: stopReason, ended_by: ending.by };
    const app = appOf({ ending, finishReason });
    const whole = await post(app, path, { ...PROMPT, stop: [';'] });
    expect(await whole.json()).toMatchObject({ choices: [fields] });
    const events = await eventsOf<object>(await post(app, path, { ...PROMPT, stop: [';'], stream: true }));
    expect(events.at(-2)).toMatchObject({ choices: [fields] });
  });

  it('should report a stop string as it was sent', async () => {
    const app = appOf({ ending: { by: 'stop', stop: '}\n' } });
    const response = await post(app, path, { ...PROMPT, stop: ['x', '}\r\n'] });
    expect(await response.json()).toMatchObject({ choices: [{ stop_reason: '}\r\n', ended_by: 'stop' }] });
  });

  it('should not report a line end at which only the editor rules stop', async () => {
    const app = appOf({ ending: { by: 'stop', stop: '\n' } });
    const response = await post(app, path, { ...PROMPT, suffix: ')', editor: true });
    expect(await response.json()).toMatchObject({ choices: [{ stop_reason: null, ended_by: 'editor' }] });
  });
});

describe('/infill', () => {
  const ask = async (completion: Partial<Completion>, fields: object = {}) => {
    const body = { input_prefix: PROMPT.prompt, input_suffix: '\n', stop: [')'], ...fields };
    return (await post(appOf(completion), '/infill', body)).json();
  };

  it.each([
    [{ by: 'end' }, 'eos', ''],
    [{ by: 'stop', stop: ')' }, 'word', ')'],
    [{ by: 'editor' }, 'limit', ''],
    [{ by: 'max_tokens' }, 'limit', ''],
    [{ by: 'budget' }, 'limit', ''],
  ] as const)('should tell that a text ended by %j', async (ending, stopType, word) => {
    const said = { stop_type: stopType, stopping_word: word, quicksilver: { ended_by: ending.by } };
    expect(await ask({ ending })).toMatchObject(said);
    const streamed = await post(appOf({ ending }), '/infill', {
      input_prefix: 'a',
      input_suffix: '\n',
      stop: [')'],
      stream: true,
    });
    expect((await eventsOf<object>(streamed)).at(-1)).toMatchObject(said);
  });

  it('should distinguish what the editor rules cut, low confidence, and an empty text', async () => {
    const tokens = tokensOf(['a', -0.1], ['\n\n', -0.1], ['b', -0.1]);
    const cut = { text: 'a\n\nb', tokens, ending: { by: 'end' } } as const;
    const top = { input_prefix: '' };
    expect(await ask(cut, top)).toMatchObject({
      content: 'a',
      stop_type: 'limit',
      quicksilver: { ended_by: 'editor' },
    });
    const unsure = { text: 'a', tokens: tokensOf(['a', -5]), confidence: -5, ending: { by: 'end' } } as const;
    expect(await ask(unsure)).toMatchObject({ content: '', quicksilver: { ended_by: 'unsure', confidence: -5 } });
    const spent = { ...usage, completionTokens: 0 };
    const nothing = { text: '', tokens: [], confidence: -0.05, ending: { by: 'end' }, usage: spent } as const;
    expect(await ask(nothing)).toMatchObject({
      content: '',
      stop_type: 'eos',
      quicksilver: { ended_by: 'end', confidence: -0.05 },
    });
    expect(await ask({ ...nothing, confidence: -5 })).toMatchObject({ quicksilver: { ended_by: 'unsure' } });
    expect(await ask({ ...nothing, confidence: 0, ending: { by: 'budget' } })).toMatchObject({
      quicksilver: { confidence: null },
    });
  });

  it('should have the confidence of the shown text, whatever follows it', async () => {
    const shown = tokensOf(['return', -2], [' a', -2]);
    const behind = tokensOf(...Array.from({ length: 50 }, (): [string, number] => ['\nx', -0.01]));
    const tokens = [...shown, ...behind];
    const text = tokens.map((token) => token.text).join('');
    const long = { text, tokens, confidence: -4.5 / 52, ending: { by: 'max_tokens' } } as const;
    expect(await ask(long)).toMatchObject({ content: '', quicksilver: { ended_by: 'unsure', confidence: -2 } });
    expect(await ask(long, { min_confidence: 0.1 })).toMatchObject({
      content: 'return a',
      quicksilver: { confidence: -2 },
    });
  });
});

describe('logprobs', () => {
  it.each([0, 2])('should have each token under the same name in every list: %i', async (logprobs) => {
    const dash = ['\\xe2', '\\x80', '\\x94'].map((byte, at) => ({
      text: at === 2 ? '—' : '',
      bytes: `bytes:${byte}`,
      logProbability: -1 - at,
      ...(logprobs > 0 && { alternatives: [{ name: `bytes:${byte}`, logProbability: -1 - at }] }),
    }));
    const tokens = [...tokensOf(['🚀', -0.5]), ...dash, ...tokensOf(['b', -0.5])];
    const body = { ...PROMPT, logprobs };
    const response = await post(appOf({ text: '🚀—b', tokens }), '/v1/completions', body);
    const { choices } = (await response.json()) as {
      choices: [{ logprobs: { tokens: string[]; token_logprobs: number[]; top_logprobs: Record<string, number>[] } }];
    };
    const told = choices[0].logprobs;
    expect(told).toMatchObject({
      tokens: ['🚀', 'bytes:\\xe2', 'bytes:\\x80', 'bytes:\\x94', 'b'],
      // In characters, not in UTF-16.
      text_offset: [0, 1, 1, 1, 2],
    });
    for (const [at, token] of told.tokens.entries()) {
      expect(told.top_logprobs[at]![token]).toBe(told.token_logprobs[at]);
    }
  });

  it('should have a token that the editor rules cut under one name', async () => {
    const alternatives = [
      { name: ' a\n\n', logProbability: -0.1 },
      { name: ' a', logProbability: -3 },
    ];
    const tokens = [...tokensOf(['return', -0.1]), { text: ' a\n\n', logProbability: -0.1, alternatives }];
    const response = await post(appOf({ text: 'return a\n\n', tokens }), '/v1/completions', {
      ...PROMPT,
      logprobs: 2,
      editor: true,
    });
    expect(await response.json()).toMatchObject({
      choices: [
        { text: 'return a', logprobs: { tokens: ['return', ' a'], top_logprobs: [{ return: -0.1 }, { ' a': -0.1 }] } },
      ],
    });
  });
});
