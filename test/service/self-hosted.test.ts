/** The service without wrangler: plain workerd, several processes that share one port, and their shutdown. */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import OpenAI from 'openai';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { DEFAULT_MODELS } from '../../scripts/serve/variables.ts';
import { newKey } from '../../src/middleware/api-keys.ts';
import { MODELS } from '../../support/models-folder.ts';
import { type Program, start } from '../../support/serving.ts';
import { startOrigin } from '../weights/origin.ts';
import { startS3 } from '../weights/s3-double.ts';
import { exchange, head } from './raw-socket.ts';
import { beginPost, LONG, metricsOf, post, SHORT, startServe, urlOf, workersOf } from './self-hosting.ts';

const ROOT = join(import.meta.dirname, '../..');

let folder: string;
let program: Program | undefined;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quicksilver-self-hosted-'));
});

afterEach(async () => {
  await program?.stop();
  program = undefined;
});

afterAll(() => rm(folder, { recursive: true, force: true }));

async function serve(
  args: readonly string[] = [],
  environment: Readonly<Record<string, string>> = {},
): Promise<string> {
  program = await startServe(args, environment);
  return urlOf(program);
}

/**
 * The tiny random Qwen3 of the golden vectors as a folder of models has it; `diffusion` replaces parts of its config.
 */
async function storeCheckpoint(model: string, diffusion: object): Promise<void> {
  const golden = join(ROOT, 'test/golden/checkpoints/qwen3');
  await cp(golden, model, { recursive: true });
  const config = JSON.parse(await readFile(join(golden, 'config.json'), 'utf8'));
  await writeFile(
    join(model, 'config.json'),
    JSON.stringify({ ...config, diffusion: { ...config.diffusion, ...diffusion } }),
  );
  const files = ['config.json', 'tokenizer.json', 'model.safetensors'].map(async (path) => {
    const content = await readFile(join(model, path));
    return { path, size: content.byteLength, sha256: createHash('sha256').update(content).digest('hex') };
  });
  const manifest = { name: basename(model), files: await Promise.all(files) };
  await writeFile(join(model, 'manifest.json'), JSON.stringify(manifest));
}

/** Takes long, and several times as long as the head of its answer waits. */
const LONG_WHOLE = { ...LONG, stream: false, max_tokens: 256, n: 4, temperature: 0.9, seed: 1 };

describe('serve', () => {
  it.each([
    ['/v1/completions', { ...LONG_WHOLE, n: 8 }],
    ['/infill', { input_prefix: LONG.prompt, n_predict: 256, n_cmpl: 8, editor: false }],
  ])('should stop computing a whole answer of %s when its client leaves', async (path, body) => {
    const url = await serve();
    const leaving = connect(Number(new URL(url).port), '127.0.0.1');
    const text = JSON.stringify(body);
    leaving.write(head(path, { 'content-length': text.length }) + text);
    await once(leaving, 'data');
    leaving.destroy();
    const outcomes = async () => {
      const samples = [...(await metricsOf(url))].filter(([name]) => name.startsWith('quicksilver_completions_total'));
      return Object.fromEntries(samples.map(([name, count]) => [/outcome="(\w+)"/.exec(name)![1]!, count]));
    };
    await expect.poll(outcomes, { timeout: 20_000 }).toMatchObject({ aborted: 1 });
    // Of eight choices, each of many steps, none or few had come to their end.
    const { aborted: _, ...completed } = await outcomes();
    expect(Object.values(completed).reduce((sum, count) => sum + count, 0)).toBeLessThan(7);
    expect(program!.output()).toContain('"end":"cancelled"');
  });

  it('should be read by clients that wait for a whole answer, over one connection', async () => {
    const url = await serve();
    const text = JSON.stringify(LONG_WHOLE);
    const first = head('/v1/completions', { 'content-length': text.length, connection: 'keep-alive' });
    const last = head('/v1/completions', { 'content-length': text.length, 'accept-encoding': 'gzip' });
    const { text: answers } = await exchange(url, [first, text, last, text]);
    expect(answers.match(/^HTTP\/1\.1 200/gm)).toHaveLength(2);
    expect(answers.match(/"choices"/g)).toHaveLength(2);
    const curl = ['-sS', '--compressed', '--no-buffer', '-H', 'content-type: application/json', '-d', text];
    const { stdout } = await promisify(execFile)('curl', [...curl, `${url}/v1/completions`]);
    expect(stdout).toMatch(/^ {2,}\{"id":"cmpl-.*\}$/);
    const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none', maxRetries: 0 });
    const { choices } = await client.completions.create({ ...LONG_WHOLE, stream: false });
    expect(choices[0]!.text).toBe((JSON.parse(stdout) as OpenAI.Completion).choices[0]!.text);
  });

  it('should break off a whole answer at the time limit, which it had begun', async () => {
    const url = await serve([], { TIME_LIMIT_MS: '5000' });
    await expect(post(url, { ...LONG_WHOLE, n: 128 }).then((response) => response.text())).rejects.toThrow();
    await expect.poll(() => program!.output()).toContain('"error":"time_limit_exceeded"');
  });

  it('should complete from weights on disk', async () => {
    const client = new OpenAI({ baseURL: `${await serve()}/v1`, apiKey: 'none' });
    const { choices } = await client.completions.create({
      model: 'nano',
      prompt: 'function isString(value) {\n  return typeof value === ',
      suffix: ';\n}\n',
      max_tokens: 8,
    });
    // What the README says.
    expect(choices[0]?.text).toBe("'string'");
  });

  it('should show the playground to browsers', async () => {
    const response = await fetch(await serve(), { headers: { accept: 'text/html' } });
    expect(response.headers.get('content-type')).toBe('text/html; charset=utf-8');
    expect(await response.text()).toContain('<title>');
  });

  it('should answer at one port from each of its processes', async () => {
    const url = await serve(['--processes', '2']);
    const [first, second, ...others] = await workersOf(program!);
    expect(others).toEqual([]);
    for (const paused of [first!, second!]) {
      process.kill(paused, 'SIGSTOP');
      try {
        expect((await post(url, SHORT)).status).toBe(200);
      } finally {
        process.kill(paused, 'SIGCONT');
      }
    }
  });

  it('should begin another process for one that has died', async () => {
    const url = await serve();
    const [worker] = await workersOf(program!);
    process.kill(worker!, 'SIGKILL');
    await expect.poll(program!.output, { timeout: 30_000 }).toContain('process 0 is ready');
    expect(program!.output()).toContain('process 0 ended (SIGKILL)');
    expect((await post(url, SHORT)).status).toBe(200);
  });

  it('should finish open requests after the signal to end, and refuse new ones', async () => {
    const url = await serve(['--processes', '2']);
    const stream = await post(url, LONG);
    const text = stream.text();
    const finish = await beginPost(url, SHORT);
    expect((await post(url, SHORT)).status).toBe(200);
    program!.signal('SIGTERM');
    await expect.poll(program!.output).toContain('finishing');
    // One of the processes may get the signal a moment later than the other.
    await expect.poll(async () => (await post(url, LONG)).status).toBe(503);
    const refused = await post(url, LONG);
    expect(refused.headers.get('retry-after')).toBe('2');
    expect(await refused.json()).toMatchObject({ error: { type: 'server_error', code: 'shutting_down' } });
    expect(await text).toMatch(/"finish_reason":"\w+".*\n\ndata: \[DONE]\n\n$/s);
    const answer = await finish();
    expect(answer.statusCode).toBe(200);
    answer.resume();
    expect(await program!.ended).toBe(0);
    await expect(post(url, LONG)).rejects.toThrow();
  });

  it('should not wait longer than configured', async () => {
    const url = await serve(['--drain-seconds', '0']);
    const finish = await beginPost(url, SHORT);
    expect((await post(url, SHORT)).status).toBe(200);
    program!.signal('SIGTERM');
    expect(await program!.ended).toBe(0);
    await expect(finish()).rejects.toThrow();
  });

  it('should hand its settings to the workers, and nothing else of its environment', async () => {
    const { key, line } = await newKey('laptop');
    const url = await serve([], { API_KEYS: line, MODEL: DEFAULT_MODELS, NOT_A_SETTING: 'secret of the shell' });
    expect((await fetch(`${url}/metrics`)).status).toBe(401);
    expect((await fetch(`${url}/metrics`, { headers: { 'x-api-key': key } })).status).toBe(200);
    const [worker] = await workersOf(program!);
    const environment = await readFile(`/proc/${worker}/environ`, 'utf8');
    expect(environment.split('\0').filter(Boolean).sort()).toEqual([`API_KEYS=${line}`, `MODEL=${DEFAULT_MODELS}`]);
  });

  it('should say what is missing of a model, and serve it once it is there', async () => {
    const models = join(folder, 'models');
    await mkdir(models);
    program = await start('serve.ts', ['--port', '0', '--models', models]);
    const url = urlOf(program);
    expect(program.output()).toMatch(/not ready: .*missing manifest\.json/);
    await cp(MODELS, models, { recursive: true });
    expect((await fetch(`${url}/ready`)).status).toBe(200);
  });

  it('should serve a converted public checkpoint, and refuse what it cannot do', async () => {
    const models = join(folder, 'checkpoints');
    const blocks = { attention: 'block-causal', block_size: 8 };
    await storeCheckpoint(join(models, 'bidirectional'), {});
    await storeCheckpoint(join(models, 'blocks'), blocks);
    const around = { prompt: 'def add(a, b):\n    ', suffix: '\n', max_tokens: 4 };
    const url = await serve(['--models', models], { MODEL: 'bidirectional' });
    const answer = await post(url, { ...around, model: 'bidirectional' });
    expect(answer.status).toBe(200);
    // random weights: the last tokens may be a character that the limit cuts, which is left out
    const { usage } = (await answer.json()) as { usage: { completion_tokens: number } };
    expect(usage.completion_tokens).toBeGreaterThan(0);
    expect(usage.completion_tokens).toBeLessThanOrEqual(4);
    await program!.stop();
    const refused = await post(await serve(['--models', models], { MODEL: 'blocks' }), { ...around, model: 'blocks' });
    expect(refused.status).toBe(400);
    expect(await refused.json()).toMatchObject({ error: { code: 'unsupported_by_model' } });
  });

  it('should fill an empty object store from an origin, and need only the store from then on', async () => {
    const names = ['config.json', 'tokenizer.json', 'model.safetensors', 'manifest.json'].map((file) => `nano/${file}`);
    const contents = names.map(async (name) => [name, await readFile(join(MODELS, name))] as const);
    const origin = await startOrigin(new Map<string, Uint8Array>(await Promise.all(contents)));
    const s3 = await startS3();
    try {
      const { endpoint, bucket, region, accessKeyId, secretAccessKey } = s3.options;
      const settings = {
        S3_ENDPOINT: endpoint,
        S3_BUCKET: bucket,
        S3_REGION: region,
        S3_ACCESS_KEY_ID: accessKeyId,
        S3_SECRET_ACCESS_KEY: secretAccessKey,
        WEIGHTS_ORIGIN: origin.url,
      };
      const ask = async (url: string) => (await post(url, SHORT)).status;
      expect(await ask(await serve([], settings))).toBe(200);
      expect([...s3.objects.keys()].sort()).toEqual([...names].sort());
      await program!.stop();
      await origin.close();
      expect(await ask(await serve([], settings))).toBe(200);
    } finally {
      await Promise.all([s3.close(), origin.close()]);
    }
  });

  it('should not start where others reach it without a key', async () => {
    await expect(serve(['--host', '0.0.0.0'])).rejects.toThrow('needs API_KEYS');
  });

  it('should not start where something listens already', async () => {
    const url = await serve();
    await expect(start('serve.ts', ['--port', new URL(url).port])).rejects.toThrow('EADDRINUSE');
  });
});
