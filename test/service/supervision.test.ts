/** What an operator does to the self-hosted service: ends it, kills it, reloads it, limits it, and watches it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer as createHttpServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import OpenAI from 'openai';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import manifest from '../../package.json' with { type: 'json' };
import { Listener } from '../../scripts/serve/listener.ts';
import { newKey } from '../../src/middleware/api-keys.ts';
import { MODELS } from '../../support/models-folder.ts';
import { type Program, start } from '../../support/serving.ts';
import { isRunning, LONG, metricsOf, post, SHORT, startServe, urlOf, workersOf } from './self-hosting.ts';

const ROOT = join(import.meta.dirname, '../..');
const IN_TIME = { timeout: 40_000, interval: 100 };

let folder: string;
let program: Program | undefined;
const left: ChildProcess[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quicksilver-supervision-'));
});

afterEach(async () => {
  await program?.stop();
  program = undefined;
  for (const child of left.splice(0)) child.kill('SIGKILL');
});

afterAll(() => rm(folder, { recursive: true, force: true }));

async function serve(...args: Parameters<typeof startServe>): Promise<string> {
  program = await startServe(...args);
  return urlOf(program);
}

/** Runs a command in which scripts/serve.ts serves in the end. */
async function spawned(
  command: string,
  args: readonly string[],
  { cwd = ROOT, descriptor, env = {} }: { cwd?: string; descriptor?: number; env?: Record<string, string> } = {},
): Promise<{ child: ChildProcess; output: () => string }> {
  const child = spawn(command, args, {
    cwd,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe', ...(descriptor === undefined ? [] : [descriptor])],
  });
  left.push(child);
  let output = '';
  for (const stream of [child.stdout!, child.stderr!]) stream.on('data', (chunk: Buffer) => (output += chunk));
  await expect.poll(() => output, { timeout: 60_000, interval: 100 }).toContain('"message":"serving ');
  return { child, output: () => output };
}

/** The one child of a process. */
async function childOf(pid: number): Promise<number> {
  const [child] = await workersOf({ pid });
  return child!;
}

/** A script of npm that serves as that of this repository does, without the build. */
async function npmPackage(): Promise<string> {
  const cwd = await mkdtemp(join(folder, 'npm-'));
  const serve = manifest.scripts.serve
    .replace('npm run build:worker', 'true')
    .replace('node -- scripts/', `${process.execPath} -- ${ROOT}/scripts/`);
  expect(serve).toContain(ROOT);
  await writeFile(join(cwd, 'package.json'), JSON.stringify({ name: 'served', scripts: { serve } }));
  return cwd;
}

const NPM_ARGS = ['run', 'serve', '--', '--port', '0', '--models', MODELS];

async function envFile(name: string, variables: Record<string, string>): Promise<string> {
  const path = join(folder, name);
  await writeFile(
    path,
    Object.entries(variables)
      .map(([name, value]) => `${name}='${value}'\n`)
      .join(''),
  );
  return path;
}

describe('the end', () => {
  it('should also follow SIGHUP, after open requests', async () => {
    const url = await serve(['--processes', '2']);
    const workers = await workersOf(program!);
    const text = (await post(url, LONG)).text();
    program!.signal('SIGHUP');
    expect(await text).toContain('data: [DONE]');
    expect(await program!.ended).toBe(0);
    expect(await Promise.all(workers.map(isRunning))).toEqual([false, false]);
  });

  it('should come to all processes when their supervisor is killed, and leave the port and no files', async () => {
    const url = await serve(['--processes', '2']);
    const workers = await workersOf(program!);
    const [, ...ofFolder] = /serve (\S+)\/\S+\.capnp/.exec(
      (await readFile(`/proc/${workers[0]}/cmdline`, 'utf8')).replaceAll('\0', ' '),
    )!;
    const text = (await post(url, LONG)).text();
    program!.signal('SIGKILL');
    expect(await text).toContain('data: [DONE]');
    await expect.poll(async () => (await Promise.all(workers.map(isRunning))).some(Boolean), IN_TIME).toBe(false);
    await expect.poll(() => readdir(ofFolder[0]!).catch(() => 'gone'), IN_TIME).toBe('gone');
    program = await start('serve.ts', ['--port', new URL(url).port, '--models', MODELS]);
    expect((await post(url, SHORT)).status).toBe(200);
  });

  it.each(['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGKILL'] as const)('should come when npm gets %s', async (signal) => {
    const { child, output } = await spawned('npm', NPM_ARGS, { cwd: await npmPackage() });
    const url = urlOf({ output });
    const supervisor = await childOf(child.pid!);
    const workers = await workersOf({ pid: supervisor });
    expect(workers).toHaveLength(1);
    const text = (await post(url, LONG)).text();
    child.kill(signal);
    expect(await text).toContain('data: [DONE]');
    await expect
      .poll(async () => (await Promise.all([supervisor, ...workers].map(isRunning))).some(Boolean), IN_TIME)
      .toBe(false);
    await expect(post(url, SHORT)).rejects.toThrow();
  });

  it('should come to a process that has just been started', async () => {
    const args = ['--', 'scripts/serve.ts', '--port', '0', '--models', MODELS];
    const child = spawn(process.execPath, args, { cwd: ROOT, env: { ...process.env, MODEL: 'nano' }, stdio: 'ignore' });
    left.push(child);
    const ended = once(child, 'exit');
    let workers: number[] = [];
    while (workers.length === 0 && child.exitCode === null) workers = await workersOf({ pid: child.pid! });
    expect(workers).not.toEqual([]);
    child.kill('SIGTERM');
    await ended;
    await expect.poll(async () => (await Promise.all(workers.map(isRunning))).some(Boolean), IN_TIME).toBe(false);
  });

  it('should wait for a signal that comes twice at once, as Ctrl-C under npm does', async () => {
    const url = await serve();
    const text = (await post(url, LONG)).text();
    program!.signal('SIGINT');
    await expect.poll(program!.output).toContain('finishing');
    program!.signal('SIGINT');
    expect(await text).toContain('data: [DONE]');
  });

  it('should wait for a file that is being sent, of any type', async () => {
    const nano = join(MODELS, 'nano');
    const weights = await readFile(join(nano, 'model.safetensors'));
    let pauseMs = 0;
    // Sends the weights in ten pieces, so that they take longer than any answer after which a process was killed.
    const origin = createHttpServer(async ({ url = '' }, response) => {
      const content = await readFile(join(MODELS, url)).catch(() => undefined);
      response.writeHead(content ? 200 : 404, { 'content-length': content?.length ?? 0 });
      const size = Math.ceil((content?.length ?? 0) / 10);
      for (let at = 0; content && at < content.length; at += size) {
        response.write(content.subarray(at, at + size));
        if (url.endsWith('.safetensors')) await sleep(pauseMs);
      }
      response.end();
    }).listen(0, '127.0.0.1');
    await once(origin, 'listening');
    try {
      const { port } = origin.address() as AddressInfo;
      const url = await serve([], { WEIGHTS_ORIGIN: `http://127.0.0.1:${port}` });
      pauseMs = 900;
      const response = await fetch(`${url}/models/nano/model.safetensors`);
      const body = response.arrayBuffer();
      program!.signal('SIGTERM');
      const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
      expect(sha256(new Uint8Array(await body))).toBe(sha256(weights));
      expect(await program!.ended).toBe(0);
    } finally {
      origin.close();
    }
  });
});

describe('a reload', () => {
  it('should exchange keys while every request is answered, and finish what began before', async () => {
    const [before, after] = await Promise.all([newKey('before'), newKey('after')]);
    const file = await envFile('reload.env', { API_KEYS: `${before.line},${after.line}` });
    const url = await serve(['--processes', '2', '--env-file', file]);
    const workers = await workersOf(program!);
    const with_ = ({ key }: { key: string }) => ({ 'x-api-key': key });
    const stream = (await post(url, LONG, with_(before))).text();

    await writeFile(file, `API_KEYS=${after.line}\n`);
    program!.signal('SIGUSR2');
    // A real client, which asks again when a connection is closed before anything of its request has been read.
    const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: after.key });
    const { stream: _, ...request } = SHORT;
    while (!program!.output().includes('"message":"reloaded')) {
      expect((await client.completions.create(request)).choices).toHaveLength(1);
    }
    expect(await stream).toContain('data: [DONE]');
    await expect.poll(async () => (await Promise.all(workers.map(isRunning))).some(Boolean), IN_TIME).toBe(false);
    expect((await post(url, SHORT, with_(before))).status).toBe(401);
    expect((await post(url, SHORT, with_(after))).status).toBe(200);
    expect(await workersOf(program!)).toHaveLength(2);

    const metrics = await metricsOf(url, with_(after));
    // Of the processes that have ended too, to their last request.
    expect(metrics.get('quicksilver_key_completion_tokens_total{key="before"}')).toBe(96);
    expect(metrics.get('quicksilver_reloads_total{outcome="done"}')).toBe(1);
  });

  it('should exchange backends', async () => {
    const backend = (models: string[]) => JSON.stringify({ other: { base_url: 'http://127.0.0.1:9/v1', models } });
    const file = await envFile('backends.env', { BACKENDS: backend(['first']) });
    const url = await serve(['--env-file', file]);
    const names = async () => {
      const { data } = (await (await fetch(`${url}/v1/models`, { headers: { connection: 'close' } })).json()) as {
        data: { id: string }[];
      };
      return data.map(({ id }) => id);
    };
    expect(await names()).toEqual(['nano', 'first']);
    await writeFile(file, `BACKENDS='${backend(['second', 'third'])}'\n`);
    program!.signal('SIGUSR2');
    await expect.poll(names, IN_TIME).toEqual(['nano', 'second', 'third']);
  });

  it.each([
    ['a setting that is wrong', 'TIME_LIMIT_MS=soon', 'TIME_LIMIT_MS must be a number'],
    ['a setting that nobody reads', 'API_KEY=laptop:1', 'API_KEY in '],
    ['backends that are wrong', 'BACKENDS={"big":{}}', 'BACKENDS.big.base_url'],
    ['a model that is not there', 'MODEL=other', "The model 'other' is not available"],
  ])('should leave all as it is for %s', async (_, line, message) => {
    const file = await envFile('refused.env', {});
    program = await start('serve.ts', ['--port', '0', '--models', MODELS, '--env-file', file]);
    const url = urlOf(program);
    const workers = await workersOf(program!);
    await writeFile(file, `${line}\n`);
    program!.signal('SIGUSR2');
    await expect.poll(program!.output, IN_TIME).toMatch(/"level":"error","message":"not reloaded, all is as before: /);
    expect(program!.output()).toContain(message);
    await expect.poll(() => workersOf(program!), IN_TIME).toEqual(workers);
    expect((await post(url, SHORT)).status).toBe(200);
  });
});

describe('the listening socket', () => {
  it('should keep connections for a process that takes the place of one that died', async () => {
    const url = await serve();
    const [worker] = await workersOf(program!);
    process.kill(worker!, 'SIGKILL');
    await expect.poll(() => isRunning(worker!), IN_TIME).toBe(false);
    expect((await post(url, SHORT)).status).toBe(200);
  });

  it('should be taken from systemd, and outlive the service', async () => {
    // As systemd does, it listens and accepts nothing.
    const holder = await Listener.open({ host: '127.0.0.1', port: 0 });
    const { address, fd } = holder;
    const command = 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" scripts/serve.ts --models "$1"';
    const args = ['-c', command, process.execPath, MODELS];
    const first = await spawned('sh', args, { descriptor: fd });
    const url = urlOf(first);
    expect(url).toBe(`http://127.0.0.1:${address.port}`);
    expect((await post(url, SHORT)).status).toBe(200);
    first.child.kill('SIGTERM');
    await once(first.child, 'exit');
    const waiting = post(url, SHORT);
    const second = await spawned('sh', args, { descriptor: fd });
    expect((await waiting).status).toBe(200);
    second.child.kill('SIGTERM');
    await once(second.child, 'exit');
    await holder.close();
  });

  it('should not be handed over where a port is asked for', async () => {
    const asked = `LISTEN_PID=$$ LISTEN_FDS=1 exec "${process.execPath}" scripts/serve.ts --port 0`;
    const child = spawn('sh', ['-c', asked], { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] });
    const [code] = await once(child, 'exit');
    expect(code).toBe(1);
  });
});

describe('/metrics', () => {
  it('should have the sum over the processes, which does not fall when one dies', async () => {
    const url = await serve(['--processes', '2']);
    const [first, second] = await workersOf(program!);
    for (const paused of [first!, second!]) {
      process.kill(paused, 'SIGSTOP');
      try {
        expect((await post(url, SHORT)).status).toBe(200);
      } finally {
        process.kill(paused, 'SIGCONT');
      }
    }
    const answered = 'quicksilver_requests_total{route="/v1/completions",status="200"}';
    // A process counts a request once its answer has been sent.
    await expect.poll(async () => (await metricsOf(url)).get(answered), IN_TIME).toBe(2);
    const before = await metricsOf(url);
    expect(before.get('quicksilver_request_duration_seconds_count{route="/v1/completions"}')).toBe(2);
    expect(before.get('quicksilver_key_requests_total{key="loopback",status="200"}')).toBeGreaterThanOrEqual(2);
    expect(before.get('quicksilver_processes')).toBe(2);
    process.kill(first!, 'SIGKILL');
    await expect.poll(program!.output, IN_TIME).toContain('process 0 is ready');
    const after = await metricsOf(url);
    expect(after.get(answered)).toBe(2);
    expect(after.get('quicksilver_process_deaths_total')).toBe(1);
  });

  it('should say what runs', async () => {
    const names = [...(await metricsOf(await serve())).keys()];
    expect(names).toContainEqual(
      expect.stringMatching(
        new RegExp(`^quicksilver_build_info\\{version="${manifest.version}",revision="[0-9a-f]{12}`),
      ),
    );
    expect(names).toContainEqual(expect.stringMatching(/^quicksilver_model_info\{model="nano",created="\d+"/));
  });

  it('should be all that a key for metrics opens', async () => {
    const [laptop, prometheus] = await Promise.all([newKey('laptop'), newKey('prometheus', { scope: 'metrics' })]);
    const url = await serve([], { API_KEYS: `${laptop.line} ${prometheus.line}` });
    const refused = await post(url, SHORT, { 'x-api-key': prometheus.key });
    expect(refused.status).toBe(403);
    expect(await refused.json()).toMatchObject({ error: { code: 'key_not_permitted' } });
    expect((await metricsOf(url, { authorization: `Bearer ${prometheus.key}` })).get('quicksilver_processes')).toBe(1);
  });
});

describe('rate limits', () => {
  it('should count each key over all processes, and through a reload', async () => {
    const [laptop, office] = await Promise.all([newKey('laptop'), newKey('office')]);
    const environment = {
      API_KEYS: `${laptop.line},${office.line}`,
      RATE_LIMIT_REQUESTS: '3',
      RATE_LIMIT_PERIOD_SECONDS: '600',
    };
    const url = await serve(['--processes', '2'], environment);
    const ask = (key: string) => post(url, SHORT, { 'x-api-key': key });
    const workers = await workersOf(program!);
    const remaining: (string | null)[] = [];
    for (const paused of [workers[0]!, workers[1]!]) {
      process.kill(paused, 'SIGSTOP');
      try {
        remaining.push((await ask(laptop.key)).headers.get('x-ratelimit-remaining-requests'));
      } finally {
        process.kill(paused, 'SIGCONT');
      }
    }
    expect(remaining).toEqual(['2', '1']);
    program!.signal('SIGUSR2');
    await expect.poll(program!.output, IN_TIME).toContain('"message":"reloaded');
    expect((await ask(laptop.key)).status).toBe(200);
    const limited = await ask(laptop.key);
    expect(limited.status).toBe(429);
    const { headers } = limited;
    expect(Number(headers.get('retry-after'))).toBeGreaterThan(300);
    expect(headers.get('x-ratelimit-limit-requests')).toBe('3');
    expect(headers.get('x-ratelimit-reset-requests')).toBe(`${headers.get('retry-after')}s`);
    expect(await limited.json()).toMatchObject({ error: { code: 'rate_limit_exceeded' } });
    expect((await ask(office.key)).status).toBe(200);
    expect((await metricsOf(url, { 'x-api-key': laptop.key })).get('quicksilver_processes')).toBeGreaterThanOrEqual(2);
  });
});

describe('settings', () => {
  it.each<[string, Record<string, string>, string]>([
    ['a model that is not there', { MODEL: 'nanno' }, 'MODEL nanno is not in the store'],
    ['a model outside of the store', { MODEL: '../models/nano' }, 'MODEL must be the name of a folder'],
    ['a period without a limit', { RATE_LIMIT_PERIOD_SECONDS: '10' }, 'RATE_LIMIT_PERIOD_SECONDS does nothing'],
    ['a bucket without a store', { S3_BUCKET: 'weights' }, 'S3_BUCKET does nothing'],
    ['a token without a mirror', { HF_MIRROR_TOKEN: 'hf_x' }, 'HF_MIRROR_TOKEN does nothing'],
    ['backends that are no JSON', { BACKENDS: '{' }, 'BACKENDS: is not valid JSON'],
    ['a confidence without backends', { AUTO_MIN_CONFIDENCE: '-1' }, 'AUTO_MIN_CONFIDENCE: does nothing'],
    [
      "a backend's key that is not there",
      { BACKENDS: '{"big":{"base_url":"http://127.0.0.1:9/v1","key":"NO_KEY"}}' },
      'there is no secret named NO_KEY',
    ],
    ['a mirror without a store', { HF_MIRROR_REPOS: '*' }, 'HF_MIRROR_REPOS needs storage'],
  ])('should be refused at the start for %s', async (_, environment, message) => {
    await expect(serve([], environment)).rejects.toThrow(message);
  });

  it('should be refused in a file if nothing reads them', async () => {
    const file = await envFile('mistyped.env', { API_KEY: 'laptop' });
    await expect(serve(['--env-file', file])).rejects.toThrow('API_KEY in ');
  });

  it.each([
    ['--processes', '0'],
    ['--port', 'http'],
    ['--port', ''],
    ['--drain-seconds', '9999999'],
    ['--unknown', 'x'],
  ])('should be refused at the start for %s %s', async (option, value) => {
    await expect(serve([option, value])).rejects.toThrow('"message":"cannot start: ');
  });

  it('should name the model that a folder of others lacks', async () => {
    const models = join(folder, 'others');
    await mkdir(join(models, 'small'), { recursive: true });
    await expect(serve(['--models', models], { MODEL: 'small' })).rejects.toThrow('MODEL small is not in the store');
  });
});

describe('the log', () => {
  it('should be JSON with a time and a level to its last line, and have no probes', async () => {
    const url = await serve(['--processes', '2']);
    for (const path of ['/health', '/ready', '/metrics']) await (await fetch(`${url}${path}`)).text();
    expect((await post(url, SHORT, { 'x-request-id': 'the-one' })).status).toBe(200);
    expect((await fetch(`${url}/nowhere`, { headers: { 'x-request-id': 'the-other' } })).status).toBe(404);
    const [first] = await workersOf(program!);
    // A crash writes what workerd has to say of it, which is no JSON.
    process.kill(first!, 'SIGSEGV');
    await expect.poll(program!.output, IN_TIME).toContain('process 0 is ready');
    await program!.stop();
    const lines = program!
      .output()
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    for (const { time, level } of lines) {
      expect(time).toMatch(/^\d{4}-\d\d-\d\dT.*Z$/);
      expect(['info', 'warn', 'error']).toContain(level);
    }
    expect(lines.filter(({ id }) => id === 'the-one')).toMatchObject([
      { level: 'info', route: '/v1/completions', status: 200 },
    ]);
    // of two processes, whose lines may come in either order
    const requests = lines.filter(({ route }) => route !== undefined).map(({ id }) => id);
    expect(requests.sort()).toEqual(['the-one', 'the-other']);
    expect(lines.some(({ message }) => /^process 0 ended/.test(message))).toBe(true);
  });
});
