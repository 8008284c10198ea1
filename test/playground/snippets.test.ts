import { execFileSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { bodyOf, type CompletionRequest } from '../../playground/src/service/request.ts';
import { snippetOf } from '../../playground/src/snippets/snippets.ts';
import { completionsRequest } from '../../src/api/dialects/completions.ts';

const request: CompletionRequest = {
  model: 'nano',
  prefix: `it's "so" $HOME \\ \`x\`\n`,
  suffix: ';\n',
  maxTokens: 16,
  temperature: 0.5,
  seed: 3,
  revealThreshold: 0.9,
  editThreshold: undefined,
  maxSteps: 4,
  canvasWidth: 16,
  stop: [],
  decoding: 'diffusion',
  editor: true,
};

const options = { baseUrl: 'https://service.example', hasKey: true, request };

describe('the body of a request', () => {
  it('should be one that the service takes, without what is left to it', () => {
    const body = bodyOf(request);
    expect(completionsRequest.parse(body)).toMatchObject(body);
    expect(body).not.toHaveProperty('edit_threshold');
    expect(body).not.toHaveProperty('stop');
  });

  it('should hold nothing that an autoregressive decoder does not read', () => {
    const body = bodyOf({ ...request, decoding: 'autoregressive', editor: false });
    expect(Object.keys(body).toSorted()).toEqual(['decoding', 'max_tokens', 'model', 'prompt', 'seed', 'temperature']);
  });
});

describe('snippets', () => {
  it('should give a shell the body as it is', () => {
    const script = snippetOf('curl', options).replace(/^curl/, 'send');
    const sent = execFileSync('bash', ['-c', `send() { printf '%s\\0' "$@"; }\n${script}`], {
      env: { ...process.env, QUICKSILVER_API_KEY: 'the key' },
    });
    const words = sent.toString().split('\0');
    expect(words[0]).toBe('https://service.example/v1/completions');
    expect(words).toContain('authorization: Bearer the key');
    expect(JSON.parse(words[words.indexOf('-d') + 1]!)).toEqual(bodyOf(request));
  });

  it('should be a TypeScript program that sends the body', async () => {
    const calls: unknown[] = [];
    class OpenAI {
      completions = {
        create: async (body: unknown) => {
          calls.push(body);
          return { choices: [{ text: '' }] };
        },
      };
    }
    const source = snippetOf('typescript', { ...options, hasKey: false });
    expect(source).toContain("baseURL: 'https://service.example/v1'");
    const program = source.replace(/^import .*$/m, '').replace('console.log(completion.choices[0].text);', '');
    const AsyncFunction = (async () => {}).constructor as new (
      ...parts: string[]
    ) => (client: unknown) => Promise<void>;
    await new AsyncFunction('OpenAI', program)(OpenAI);
    expect(calls).toEqual([bodyOf(request)]);
  });

  it('should be a Python program that sends the body', () => {
    const stub = `
import json, sys, types
class Completions:
    def create(self, extra_body, **fields):
        print(json.dumps({**fields, **extra_body}))
        return types.SimpleNamespace(choices=[types.SimpleNamespace(text="")])
class OpenAI:
    def __init__(self, base_url, api_key):
        self.completions = Completions()
sys.modules["openai"] = types.SimpleNamespace(OpenAI=OpenAI)
`;
    const program = stub + snippetOf('python', options);
    const env = { ...process.env, QUICKSILVER_API_KEY: 'the key' };
    const [body] = execFileSync('python3', ['-c', program], { env }).toString().split('\n');
    expect(JSON.parse(body!)).toEqual(bodyOf(request));
  });

  it('should name a key only by its variable, and only if there is one', () => {
    for (const kind of ['curl', 'typescript', 'python'] as const) {
      expect(snippetOf(kind, options)).toContain('QUICKSILVER_API_KEY');
      expect(snippetOf(kind, { ...options, hasKey: false })).not.toContain('QUICKSILVER_API_KEY');
    }
  });
});
