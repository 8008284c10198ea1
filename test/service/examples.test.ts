/** The examples of the repository, run as their README says; test/python runs the one in Python. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import prompts from '../../examples/prompts.json' with { type: 'json' };
import { DEFAULT_MODELS } from '../../scripts/serve/variables.ts';
import { MODELS } from '../../support/models-folder.ts';
import { type Service, serve } from '../../support/serving.ts';

const ROOT = join(import.meta.dirname, '../..');

/** The text of a whole answer, or of all chunks of a stream; those of one that diffuses replace each other. */
function textOf(answer: string, isDiffusing: boolean): string {
  const parts = answer
    .split('\n')
    // Blanks come before an answer that takes long.
    .map((line) => line.trim().replace(/^data: /, ''))
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as { choices: { text: string }[] });
  const texts = parts.flatMap(({ choices }) => choices.map(({ text }) => text));
  return isDiffusing ? texts.at(-1)! : texts.join('');
}

/** What is acceptable after the prompt that begins so. */
function acceptable(beginning: string): string[] {
  return prompts.find(({ prompt }) => prompt.startsWith(beginning))!.acceptable;
}

describe('the examples', () => {
  let service: Service;

  beforeAll(async () => {
    service = await serve(MODELS, [], DEFAULT_MODELS);
  });

  afterAll(() => service?.stop());

  /** What the program prints. Rejects when it fails. */
  async function run(program: string, ...args: string[]): Promise<string> {
    const env = { ...process.env, QUICKSILVER_URL: service.url };
    const { stdout, stderr } = await promisify(execFile)(program, args, { cwd: ROOT, env });
    expect(stderr).toBe('');
    return stdout;
  }

  it('should complete with curl', async () => {
    const answers = (await run('examples/curl.sh')).split(/^# .*\n/m).slice(1);
    expect(answers).toHaveLength(4);
    for (const whole of answers.slice(0, 2)) {
      expect(JSON.parse(whole)).toMatchObject({ choices: [{ text: expect.any(String) }] });
    }
    for (const stream of answers.slice(2)) {
      expect(stream).toMatch(/^data: \{/);
      expect(stream.trimEnd()).toMatch(/\ndata: \[DONE\]$/);
    }
    const texts = answers.map((answer, index) => textOf(answer, index === 3));
    expect(acceptable('/** Adds numbers. */')).toContain(texts[0]);
    expect(acceptable('export function total')).toContain(texts[1]);
    expect(acceptable('function clamp')).toContain(texts[2]);
    expect(acceptable('function clamp')).toContain(texts[3]);
  });

  it("should complete with OpenAI's client", async () => {
    const lines = (await run(process.execPath, 'examples/complete.ts')).trimEnd().split('\n');
    expect(lines).toEqual([
      expect.stringMatching(/^completion: ".*" tokens: \d+$/),
      expect.stringMatching(/^stream: ".*"$/),
      expect.stringMatching(/^error: model_not_found .*'unknown'/),
    ]);
    const [completion, stream] = lines.map((line) => JSON.parse(/".*"/.exec(line)?.[0] ?? '""') as string);
    expect(acceptable('/** Adds numbers. */')).toContain(completion);
    expect(acceptable('function clamp')).toContain(stream);
  });
});
