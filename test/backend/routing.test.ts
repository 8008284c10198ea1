import { describe, expect, it } from 'vitest';
import { type Operation, readBackends } from '../../src/backend/config.ts';
import { listedModels, routeOf } from '../../src/backend/routing.ts';

function routes(settings: Record<string, object>) {
  const withUrls = Object.entries(settings).map(([name, rest]) => [
    name,
    { base_url: `https://${name}.example`, ...rest },
  ]);
  const backends = readBackends(JSON.stringify(Object.fromEntries(withUrls)), {});
  return {
    listed: listedModels(backends),
    to(model: string, operation: Operation = 'chat') {
      const route = routeOf(backends, { operation, model, localModels: ['nano'] });
      return (
        route && [route.reason, ...route.chain.map(({ backend, path, model }) => `${backend.name}${path}?${model}`)]
      );
    },
  };
}

describe('a route', () => {
  const { to, listed } = routes({
    mercury: { dialect: 'inception', models: ['mercury-*', 'coder'], default: true, default_model: 'mercury-2' },
    sglang: { models: ['Qwen/*-diffusion', 'mercury-local', 'org/a'], fallback: ['mercury'] },
  });

  it('should go to the backend with the name, before one with a pattern', () => {
    expect(to('coder')).toEqual(['model', 'mercury/chat/completions?coder']);
    expect(to('mercury-local')?.[1]).toBe('sglang/chat/completions?mercury-local');
  });

  it.each([
    ['mercury-', 'model'],
    ['mercury-2-mini', 'model'],
    ['a-mercury-2', 'default'],
    ['Qwen/x-diffusion', 'model'],
    ['Qwen/-diffusion', 'model'],
    ['Qwen-diffusion', 'default'],
    ['Qwen/x-diffusion-2', 'default'],
  ])('should take %s by a pattern or not: %s', (model, reason) => {
    expect(to(model)?.[0]).toBe(reason);
  });

  it('should go to the default with the name unchanged, which it may know', () => {
    expect(to('other')).toEqual(['default', 'mercury/chat/completions?other']);
  });

  it.each(['nano', 'auto'])('should replace the name %s, which only this service knows', (model) => {
    expect(to(model)).toEqual(['default', 'mercury/chat/completions?mercury-2']);
  });

  it('should ask a fall-back for a model of its own', () => {
    expect(to('org/a')?.slice(1)).toEqual(['sglang/chat/completions?org/a', 'mercury/chat/completions?mercury-2']);
  });

  it('should ask a fall-back that has the model too for that model', () => {
    const { to } = routes({ a: { models: ['m-1'], fallback: ['b'] }, b: { models: ['other', 'm-*'] } });
    expect(to('m-1')).toEqual(['model', 'a/chat/completions?m-1', 'b/chat/completions?m-1']);
  });

  it('should leave out backends whose dialect does not have the operation', () => {
    expect(to('org/a', 'edit')).toEqual(['default', 'mercury/edit/completions?org/a']);
    expect(routes({ sglang: { models: ['m'], default: true } }).to('m', 'edit')).toBeUndefined();
  });

  it('should translate the path of fill in the middle', () => {
    expect(to('org/a', 'fim')?.[1]).toBe('sglang/completions?org/a');
    expect(to('coder', 'completions')?.[1]).toBe('mercury/fim/completions?coder');
  });

  it('should not exist for an unknown name without a default backend', () => {
    expect(routes({ a: { models: ['m'] } }).to('n')).toBeUndefined();
  });

  it('should decide on a pattern and a name made to be slow', () => {
    // Trying every way to share the letters among the stars would never end.
    const pattern = `${'a*'.repeat(60)}b`;
    expect(routes({ a: { models: [pattern] } }).to('a'.repeat(250))).toBeUndefined();
  });

  it('should ask for an aliased model by the name that the backend has for it', () => {
    const { to, listed } = routes({ engine: { aliases: { tiny: '/models/tiny' }, default: true } });
    expect(to('tiny')).toEqual(['model', 'engine/chat/completions?/models/tiny']);
    expect(to('auto')).toEqual(['default', 'engine/chat/completions?/models/tiny']);
    expect(to('constructor')?.[1]).toBe('engine/chat/completions?constructor');
    expect(listed).toEqual([{ id: 'tiny', backend: 'engine' }]);
  });

  it('should list exact names only', () => {
    expect(listed).toEqual([
      { id: 'coder', backend: 'mercury' },
      { id: 'mercury-local', backend: 'sglang' },
      { id: 'org/a', backend: 'sglang' },
    ]);
  });
});
