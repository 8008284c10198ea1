/**
 * Every prompt that a new user meets is in examples/prompts.json, with the answers that are acceptable, and the shipped
 * models give one of them in the real runtime.
 */
import { execFile, execFileSync } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import prompts from '../../examples/prompts.json' with { type: 'json' };
import { storiesAfter } from '../../playground/src/canvas/recording.ts';
import { LANGUAGES, sampleOf } from '../../playground/src/editor/languages.ts';
import { raceRequests, record } from '../../playground/src/runs.ts';
import { serviceAt } from '../../playground/src/service/answerer.ts';
import { MODELS } from '../../support/models-folder.ts';
import { freePort, type Program, start } from '../../support/serving.ts';

const ROOT = join(MODELS, '..');
const SHIPPED = ['small', 'nano'];

/** What a new user reads or runs: all pages and examples. */
const PLACES = execFileSync('git', ['ls-files', '*.md', 'examples'], { cwd: ROOT, encoding: 'utf8' })
  .split('\n')
  .filter((file) => /\.(md|sh|ts|py)$/.test(file));

/** Those that have prompts, and how many at least. */
const LEAST: Readonly<Record<string, number>> = {
  'README.md': 1,
  'docs/api.md': 1,
  'examples/curl.sh': 4,
  'examples/complete.ts': 2,
  'examples/complete.py': 2,
};

/** A string after `prompt`, in JSON, TypeScript or Python. */
const PROMPT = /\bprompt"?\s*[:=]\s*(["'])((?:\\.|(?!\1).)*)\1/g;

/** A request that is refused: its prompt is not read. */
const UNANSWERED = /.*\bmodel\s*[:=]\s*["']unknown["'].*/g;

interface Answer {
  choices: { text: string }[];
}

const cases = prompts.flatMap((entry) => entry.models.map((model) => ({ ...entry, model })));

/** Those that are shown as a canvas. */
const canvases = prompts.flatMap(({ canvas, ...entry }) => (canvas === undefined ? [] : [{ ...entry, canvas }]));

describe('the prompts that a new user meets', () => {
  let program: Program;
  let url: string;
  let state: string;

  beforeAll(async () => {
    const port = String(await freePort());
    url = `http://127.0.0.1:${port}`;
    state = await mkdtemp(join(tmpdir(), 'quicksilver-'));
    program = await start('start.ts', ['--port', port, '--state', state, '--models', MODELS, '--model', 'small,nano']);
  });

  afterAll(async () => {
    await program?.stop();
    if (state !== undefined) await rm(state, { recursive: true, force: true });
  });

  it.each(cases)('should get an acceptable answer for $name in $language from $model', async (entry) => {
    const { model, prompt, suffix } = entry;
    const response = await fetch(`${url}/v1/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model, prompt, suffix, max_tokens: 16, editor: true }),
    });
    const { choices } = (await response.json()) as Answer;
    expect(entry.acceptable).toContain(choices[0]?.text.trim());
  });

  it.each(canvases)('should resolve $name out of order, with edits, in fewer passes than tokens', async (entry) => {
    const { canvas, prompt, suffix } = entry;
    const answerer = serviceAt({ baseUrl: url, key: '' });
    const choices = { maxTokens: canvas.canvas_width, temperature: 0, seed: 1, maxSteps: undefined };
    const settings = {
      canvasWidth: canvas.canvas_width,
      ...{ revealThreshold: canvas.reveal_threshold, editThreshold: canvas.edit_threshold },
    };
    const [request] = raceRequests(canvas.model, { prefix: prompt, suffix }, { ...choices, ...settings });
    const run = await record({ answerer }, request, new AbortController().signal);
    expect(entry.acceptable).toContain(run.result.text.trim());
    const stories = storiesAfter(run, run.steps.length).filter(({ view }) => view.state === 'token');
    const passes = stories.map(({ decidedIn }) => decidedIn!);
    expect(passes).not.toEqual(passes.toSorted((a, b) => a - b));
    expect(stories.flatMap(({ edits }) => edits).length).toBeGreaterThan(0);
    expect(run.steps.length).toBeLessThan(stories.length);
    expect(canvas.canvas_width).toBeGreaterThanOrEqual(16);
  });

  it('should get an acceptable answer by the command that the service prints when it starts', async () => {
    const command = program.output().match(/^ {2}(curl .*)$/m)?.[1];
    const { stdout } = await promisify(execFile)('bash', ['-c', `${command} --silent`]);
    const { choices } = JSON.parse(stdout) as Answer;
    const entry = prompts.find(({ prompt }) => command?.includes(JSON.stringify(prompt).replaceAll("'", "'\\''")));
    expect(entry?.acceptable).toContain(choices[0]?.text.trim());
  });

  it.each(SHIPPED)('should differ in language for %s', (model) => {
    const languages = cases.filter((entry) => entry.model === model).map(({ language }) => language);
    expect(new Set(languages).size).toBeGreaterThan(1);
  });

  it.each(PLACES)('should be those of %s', async (file) => {
    const text = await readFile(join(ROOT, file), 'utf8');
    const answered = text.replaceAll(UNANSWERED, '');
    const shown = [...answered.matchAll(PROMPT)].map(([, , inner]) => JSON.parse(`"${inner}"`) as string);
    expect(shown.length).toBeGreaterThanOrEqual(LEAST[file] ?? 0);
    expect(shown.filter((shownPrompt) => !prompts.some(({ prompt }) => prompt === shownPrompt))).toEqual([]);
  });

  it('should be the lines to try in an editor, whichever model answers', async () => {
    const page = await readFile(join(ROOT, 'docs/editors.md'), 'utf8');
    const lines = page.match(/^```js\n([\s\S]*?)^```$/m)?.[1];
    const entry = prompts.find(({ prompt, suffix }) => prompt + suffix === lines);
    expect(entry?.models).toEqual(expect.arrayContaining(SHIPPED));
    const shown = [...page.matchAll(/^\| [^|]+ \| [^|`]*`([^`]+)`/gm)].map(([, text]) => text!);
    expect(shown.length).toBeGreaterThan(5);
    expect(shown.filter((text) => !entry?.acceptable.includes(text))).toEqual([]);
  });

  it.each(LANGUAGES)('should be the sample of the playground in %s', (language) => {
    const { text, cursor } = sampleOf(language);
    const entry = prompts.find(({ prompt, suffix }) => text === prompt + suffix && cursor === prompt.length);
    expect(entry?.language).toBe(language);
  });
});
