/** An operator's settings in the real runtime, as `npm start` hands them to the worker. */
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { newKey } from '../../src/middleware/api-keys.ts';
import { type Service, serve, start } from '../../support/serving.ts';

let folder: string;
let models: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quicksilver-operations-'));
  models = await mkdtemp(join(folder, 'models-'));
});

afterAll(() => rm(folder, { recursive: true, force: true }));

async function envFile(name: string, apiKeys: string): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, `API_KEYS=${apiKeys}\n`);
  return path;
}

/** Status of GET /metrics where the client asks for another host, which fetch does not let it do. */
function statusFor(url: string, host: string): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const asked = request(`${url}/metrics`, { headers: { host } }, (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    asked.on('error', reject).end();
  });
}

describe('a service with a key', () => {
  let service: Service;
  let key: string;

  beforeAll(async () => {
    const made = await newKey('laptop');
    key = made.key;
    service = await serve(models, ['--env-file', await envFile('key.env', made.line)]);
  });

  afterAll(() => service?.stop());

  it('should answer those who have it, and anybody about its health', async () => {
    const status = async (path: string, headers: Record<string, string> = {}) =>
      (await fetch(`${service.url}${path}`, { headers })).status;
    expect(await status('/health')).toBe(200);
    expect(await status('/metrics')).toBe(401);
    expect(await status('/metrics', { authorization: 'Bearer qs_wrong' })).toBe(401);
    expect(await status('/metrics', { authorization: `Bearer ${key}` })).toBe(200);
    expect(await status('/metrics', { 'x-api-key': key })).toBe(200);
  });
});

describe('a service without keys', () => {
  it('should only answer on its own host', async () => {
    const service = await serve(models, ['--env-file', await envFile('none.env', '')]);
    try {
      expect((await fetch(`${service.url}/metrics`)).status).toBe(200);
      expect(await statusFor(service.url, 'service.example')).toBe(403);
    } finally {
      await service.stop();
    }
  });

  it('should not start on an address that others can reach', async () => {
    const starting = serve(models, ['--host', '0.0.0.0', '--env-file', await envFile('none.env', '')]);
    await expect(starting).rejects.toThrow('needs API_KEYS');
  });

  it('should not start with a setting that is wrong', async () => {
    const starting = serve(models, ['--env-file', await envFile('wrong.env', 'qs_secret')]);
    await expect(starting).rejects.toThrow('cannot start: API_KEYS entry 1');
  });

  it('should not start with backends that are wrong', async () => {
    const file = join(folder, 'backends.env');
    await writeFile(file, 'AUTO_MIN_CONFIDENCE=-1\n');
    await expect(serve(models, ['--env-file', file])).rejects.toThrow('AUTO_MIN_CONFIDENCE: does nothing');
  });

  it('should end where its port is in use', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    const { port } = other.address() as AddressInfo;
    try {
      const args = ['--port', String(port), '--state', join(folder, 'in-use'), '--models', models];
      const starting = start('start.ts', args);
      await expect(starting).rejects.toThrow(/exited with 1:.*already in use/s);
    } finally {
      other.close();
    }
  });
});
