/** Two models in one service, in the real runtime: `nano`, and a copy of it under another name. */
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Ollama } from 'ollama';
import OpenAI from 'openai';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { MODELS } from '../../support/models-folder.ts';
import { freePort, type Program, start } from '../../support/serving.ts';
import { metricsOf, post, SHORT, startServe, urlOf } from './self-hosting.ts';

const WEIGHTS = 'model.safetensors';
const BOTH = { MODEL: 'twin,nano' };

let folder: string;
let program: Program | undefined;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quicksilver-several-'));
});

afterEach(async () => {
  await program?.stop();
  program = undefined;
});

afterAll(() => rm(folder, { recursive: true, force: true }));

/** A folder of both models. */
async function storeModels(name: string): Promise<string> {
  const models = join(folder, name);
  await cp(join(MODELS, 'nano'), join(models, 'nano'), { recursive: true });
  await cp(join(MODELS, 'nano'), join(models, 'twin'), { recursive: true });
  const manifest = join(models, 'twin/manifest.json');
  await writeFile(manifest, (await readFile(manifest, 'utf8')).replace('"nano"', '"twin"'));
  return models;
}

async function serve(models: string, environment: Readonly<Record<string, string>> = BOTH): Promise<string> {
  program = await startServe(['--models', models], environment);
  return urlOf(program);
}

async function damage(file: string): Promise<void> {
  const bytes = await readFile(file);
  bytes[bytes.length - 1]! ^= 1;
  await writeFile(file, bytes);
}

const json = async (url: string) => (await fetch(url, { headers: { connection: 'close' } })).json();

describe('two models', () => {
  it('should be loaded when they are asked for, and answer to their names alone', async () => {
    const url = await serve(await storeModels('both'));
    const loaded = { id: 'twin', state: 'loaded' };
    const ready = { status: 'ready', model: 'twin' };
    expect(await json(`${url}/ready`)).toEqual({ ...ready, models: [loaded, { id: 'nano', state: 'not_loaded' }] });

    const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none' });
    expect((await client.models.list()).data.map(({ id }) => id)).toEqual(['twin', 'nano']);
    const ollama = new Ollama({ host: url });
    const running = async () => (await ollama.ps()).models.map(({ name }) => name);
    expect((await ollama.list()).models.map(({ name }) => name)).toEqual(['twin:latest', 'nano:latest']);
    // None of this has loaded the other one.
    expect(await running()).toEqual(['twin:latest']);

    const complete = (model: string) => client.completions.create({ model, prompt: 'const fs = ', max_tokens: 4 });
    const [twin, nano] = [await complete('twin'), await complete('nano')];
    expect([twin.model, nano.model]).toEqual(['twin', 'nano']);
    expect(nano.choices[0]!.text).toBe(twin.choices[0]!.text);
    expect(await running()).toEqual(['twin:latest', 'nano:latest']);
    expect(await json(`${url}/ready`)).toEqual({ ...ready, models: [loaded, { id: 'nano', state: 'loaded' }] });
    expect(await (await post(url, { ...SHORT, model: '' })).json()).toMatchObject({ model: 'twin' });
    await expect(complete('other')).rejects.toMatchObject({ status: 404, code: 'model_not_found' });
    const tabby = (model?: string) => post(url, { segments: { prefix: 'const fs = ' }, model });
    expect((await tabby('other')).status).toBe(404);
    expect((await tabby('nano')).status).toBe(200);
    const metrics = await metricsOf(url);
    expect(metrics.get('quicksilver_completions_total{model="nano",outcome="length"}')).toBe(1);
    expect(metrics.get('quicksilver_completions_total{model="twin",outcome="length"}')).toBe(2);
    for (const name of ['twin', 'nano']) {
      expect(await json(`${url}/models/${name}/manifest.json`)).toMatchObject({ name });
      const weights = await fetch(`${url}/models/${name}/${WEIGHTS}`, { method: 'HEAD' });
      expect(weights.status).toBe(200);
    }
    expect(program!.output()).toContain('"message":"serving twin, nano on ');
    expect(program!.output()).toMatch(/"route":"\/v1\/completions","status":200,[^\n]*"model":"nano"/);
  });

  it('should not fall for each other when the weights of one are damaged', async () => {
    const models = await storeModels('damaged');
    await damage(join(models, 'nano', WEIGHTS));
    const url = await serve(models);
    const refused = await post(url, { ...SHORT, model: 'nano' });
    expect(refused.status).toBe(503);
    expect(await refused.json()).toMatchObject({
      error: { code: 'model_unavailable', message: `The model 'nano' is not available: damaged ${WEIGHTS}.` },
    });
    expect(await (await post(url, { ...SHORT, model: 'twin' })).json()).toMatchObject({ model: 'twin' });
    const ready = await fetch(`${url}/ready`);
    expect(ready.status).toBe(200);
    expect(await ready.json()).toMatchObject({
      models: [
        { id: 'twin', state: 'loaded' },
        { id: 'nano', state: 'unavailable', reason: 'damaged', files: [WEIGHTS] },
      ],
    });
    await damage(join(models, 'nano', WEIGHTS));
    expect(await (await post(url, { ...SHORT, model: 'nano' })).json()).toMatchObject({ model: 'nano' });
  });

  it('should leave the other one where the default is damaged', async () => {
    const models = await storeModels('default-damaged');
    await damage(join(models, 'twin', WEIGHTS));
    const url = await serve(models);
    expect(program!.output()).toContain('not ready: ');
    expect((await fetch(`${url}/ready`)).status).toBe(503);
    expect((await post(url, { ...SHORT, model: '' })).status).toBe(503);
    expect(await (await post(url, { ...SHORT, model: 'nano' })).json()).toMatchObject({ model: 'nano' });
  });

  it('should not start where one of them is unknown, whichever it is', async () => {
    const models = await storeModels('unknown');
    for (const MODEL of ['nano,twinn', 'twinn,nano']) {
      await expect(serve(models, { MODEL })).rejects.toThrow('MODEL twinn is not in the store');
    }
    await expect(serve(models, { MODEL: 'nano,twin,nano' })).rejects.toThrow('MODEL must not name a model twice');
  });

  it('should be served by npm start, which says what they are', async () => {
    const models = await storeModels('pushed');
    const state = join(folder, 'state');
    const env = join(folder, 'models.env');
    await writeFile(env, 'MODEL=twin,nano\n');
    const port = String(await freePort());
    program = await start('start.ts', ['--port', port, '--state', state, '--models', models, '--env-file', env]);
    expect(program.output()).toMatch(/^model twin \(default\): 5\.5 million parameters, 3\.66 MiB, javascript/m);
    expect(program.output()).toMatch(/^model nano: 5\.5 million parameters/m);
    await expect.poll(program.output).toContain('"model":"twin"');
    const url = `http://127.0.0.1:${port}`;
    expect(await (await post(url, { ...SHORT, model: 'nano' })).json()).toMatchObject({ model: 'nano' });
  });
});
