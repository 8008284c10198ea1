import { describe, expect, it } from 'vitest';
import { keysOf, serviceWith } from './support.ts';

const EDITOR = 'https://editor.example';

const preflight = { method: 'OPTIONS', headers: { origin: EDITOR, 'access-control-request-method': 'POST' } };

describe('web pages', () => {
  it('should be allowed to call where their origin is configured, without a key in the preflight', async () => {
    const { keys } = await keysOf('laptop');
    const { app, complete } = serviceWith({ keys, origins: [EDITOR] });
    const asked = await app.request('/v1/completions', {
      ...preflight,
      headers: { ...preflight.headers, 'access-control-request-headers': 'authorization, content-type' },
    });
    expect(asked.status).toBe(204);
    expect(asked.headers.get('access-control-allow-origin')).toBe(EDITOR);
    expect(asked.headers.get('access-control-allow-methods')).toContain('POST');
    expect(asked.headers.get('access-control-allow-headers')).toContain('authorization');
    const refused = await complete({}, { origin: EDITOR });
    expect(refused.status).toBe(401);
    expect(refused.headers.get('access-control-allow-origin')).toBe(EDITOR);
    expect(refused.headers.get('access-control-expose-headers')).toContain('retry-after');
  });

  it('should not be allowed from another origin', async () => {
    const { app, complete } = serviceWith({ origins: [EDITOR] });
    const other = 'https://other.example';
    const asked = await app.request('/v1/completions', {
      ...preflight,
      headers: { ...preflight.headers, origin: other },
    });
    expect(asked.headers.has('access-control-allow-origin')).toBe(false);
    expect((await complete({}, { origin: other })).headers.has('access-control-allow-origin')).toBe(false);
  });

  it('should be allowed from everywhere with *, also to read a stream', async () => {
    const { complete } = serviceWith({ origins: ['*'] });
    const response = await complete({ stream: true }, { origin: EDITOR });
    expect(response.headers.get('access-control-allow-origin')).toBe('*');
    expect(await response.text()).toContain('[DONE]');
  });

  it('should not be allowed unless configured', async () => {
    const { app } = serviceWith();
    const asked = await app.request('/v1/completions', preflight);
    expect(asked.status).toBe(405);
    expect(asked.headers.has('access-control-allow-origin')).toBe(false);
  });
});
