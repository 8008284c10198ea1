/** A newer request of an editor replaces the one that it continues, in every dialect, and no other request. */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { createApp } from '../../../src/app.ts';
import { newKey } from '../../../src/middleware/api-keys.ts';
import type { LogLine } from '../../../src/middleware/observe.ts';
import { readSettings } from '../../../src/settings.ts';
import { eventsOf, post } from '../../support/requests.ts';
import { catalogOf, helloScript, scriptedEngine } from '../../support/scripted-engine.ts';

const PREFIX = `${'const line = one();\n'.repeat(30)}function total(numbers) {\n  return num`;
const SUFFIX = '\n}\n';

/** A busy machine may take its time. */
const PATIENT = { timeout: 30_000 };

const message = 'A newer request of this client continues this one, and has replaced it.';
const error = { error: { message, type: 'invalid_request_error', param: null, code: 'replaced' } };

const DIALECTS = [
  ['/infill', (prefix: string) => ({ input_prefix: '', prompt: prefix, input_suffix: SUFFIX }), error],
  ['/v1/completions', (prompt: string) => ({ prompt, suffix: SUFFIX, editor: true }), error],
  ['/v1/completions?editor=true', (prompt: string) => ({ prompt, suffix: SUFFIX }), error],
  ['/beta/completions', (prompt: string) => ({ prompt, suffix: SUFFIX, editor: true }), error],
  ['/v1/completions', (prefix: string) => ({ segments: { prefix, suffix: SUFFIX } }), error],
  ['/v1/fim/completions', (prompt: string) => ({ prompt, suffix: SUFFIX, editor: true }), error],
  ['/completion?editor=true', (prompt: string) => ({ prompt }), error],
  ['/api/generate', (prompt: string) => ({ model: 'nano', prompt, suffix: SUFFIX, editor: true }), { error: message }],
] as const;

/** @param stepsBefore steps after which requests wait until they are let go; without one their heads wait as well */
function setUp({ keys = '', stepsBefore = 0 } = {}) {
  const lines: LogLine[] = [];
  let isOpen = false;
  const engine = scriptedEngine({
    ...helloScript,
    frames: Array(1_000).fill(helloScript.frames[0]),
    beforeFrame: async (frame, signal) => {
      if (frame < stepsBefore || isOpen) return;
      while (!isOpen && !signal.aborted) await sleep(1);
    },
  });
  if (stepsBefore === 0) Object.assign(engine, { decidesLate: true });
  const settings = readSettings({ MODEL: 'nano', API_KEYS: keys });
  const app = createApp(catalogOf(engine), undefined, { keys: settings.keys, log: (line) => lines.push(line) });
  const finish = () => {
    isOpen = true;
  };
  const begun = (count: number) => expect.poll(() => engine.requests.length, PATIENT).toBe(count);
  return { app, engine, lines, finish, begun };
}

const headersOf = (more: Record<string, string> = {}) => ({
  headers: { 'content-type': 'application/json', 'user-agent': 'editor/1', ...more },
});

describe.each(DIALECTS)('a request of %s whose client types on', (path, body, shape) => {
  it('should be refused as replaced, and its successor answered', async () => {
    const { app, engine, lines, finish, begun } = setUp();
    const whole = (prefix: string) => ({ ...body(prefix), ...(path === '/api/generate' && { stream: false }) });
    const older = post(app, path, whole(PREFIX), headersOf());
    await begun(1);
    const newer = post(app, path, whole(`${PREFIX}b`), headersOf());
    const refused = await older;
    expect([refused.status, await refused.json()]).toEqual([499, shape]);
    expect(refused.headers.get('x-should-retry')).toBe('false');
    expect(lines).toMatchObject([{ status: 499, level: 'info', error: 'replaced' }]);
    finish();
    const answered = await newer;
    expect(answered.status).toBe(200);
    expect(await answered.json()).not.toHaveProperty('error');
    expect(engine.endings).toEqual(['aborted', 'completed']);
  });

  it('should end with the error when its blanks have been sent', async () => {
    const { app, lines, finish } = setUp({ stepsBefore: 2 });
    const whole = (prefix: string) => ({ ...body(prefix), ...(path === '/api/generate' && { stream: false }) });
    const late = await post(app, path, whole(PREFIX), headersOf());
    expect(late.status).toBe(200);
    void post(app, path, whole(`${PREFIX}b`), headersOf()).catch(() => {});
    const text = await late.text();
    expect(text).toMatch(/^ +\{/);
    expect(JSON.parse(text)).toEqual(shape);
    expect(lines).toMatchObject([{ status: 200, level: 'info', error: 'replaced' }]);
    finish();
  });
});

describe.each(DIALECTS.filter(([, body]) => !('segments' in body(''))))(
  'a stream of %s whose client types on',
  (path, body, shape) => {
    it('should have the error as its last item', async () => {
      const { app, engine, lines, finish, begun } = setUp({ stepsBefore: 1 });
      const older = await post(app, path, { ...body(PREFIX), stream: true }, headersOf());
      await begun(1);
      void post(app, path, { ...body(`${PREFIX}b`), stream: true }, headersOf()).catch(() => {});
      if (path === '/api/generate') {
        const items = (await older.text()).trim().split('\n');
        expect(JSON.parse(items.at(-1)!)).toEqual(shape);
      } else expect((await eventsOf(older)).filter((event) => event !== '[DONE]').at(-1)).toEqual(shape);
      expect(lines).toMatchObject([{ status: 200, level: 'info', error: 'replaced' }]);
      expect(engine.endings).toEqual(['aborted']);
      finish();
    });
  },
);

describe('requests that nothing replaces', () => {
  const infill = (prefix: string, more: object = {}) => ({ prompt: prefix, input_suffix: SUFFIX, ...more });

  it.each([
    ['the same text again: samples of it', infill(PREFIX), infill(PREFIX)],
    ['another place of the file', infill(PREFIX), infill(PREFIX.slice(0, 200))],
    ['an older text that comes late', infill(`${PREFIX}b`), infill(PREFIX)],
    ['no editor asks', infill(PREFIX, { editor: false }), infill(`${PREFIX}b`, { editor: false })],
  ])('should be answered, all of them: %s', async (_, first, second) => {
    const { app, finish, begun } = setUp();
    const answers = [post(app, '/infill', first, headersOf())];
    await begun(1);
    answers.push(post(app, '/infill', second, headersOf()));
    await begun(2);
    await sleep(20);
    finish();
    expect((await Promise.all(answers)).map(({ status }) => status)).toEqual([200, 200]);
  });

  it('should be answered when several unrelated places are asked about at once', async () => {
    const { app, finish, begun } = setUp();
    const places = Array.from({ length: 12 }, (_, at) =>
      infill(PREFIX.slice(0, 300 + at * 7), { input_suffix: `${at}` }),
    );
    const answers = places.map((body) => post(app, '/infill', body, headersOf()));
    await begun(12);
    await sleep(20);
    finish();
    expect((await Promise.all(answers)).map(({ status }) => status)).toEqual(Array(12).fill(200));
  });

  it('should be those of other programs, other machines and other keys', async () => {
    const [laptop, desk] = [await newKey('laptop'), await newKey('desk')];
    const { app, engine, finish, begun } = setUp({ keys: `${laptop.line},${desk.line}` });
    const headers = [
      { 'x-api-key': laptop.key },
      { 'x-api-key': laptop.key, 'user-agent': 'editor/2' },
      { 'x-api-key': laptop.key, 'x-forwarded-for': '203.0.113.7' },
      { 'x-api-key': desk.key },
    ];
    const answers: Promise<Response>[] = [];
    for (const [at, of] of headers.entries()) {
      answers.push(post(app, '/infill', infill(PREFIX + 'bers'.slice(0, at)), headersOf(of)));
      await begun(at + 1);
    }
    // The same key under another name of its header is the same client.
    const continued = headersOf({ authorization: `Bearer ${desk.key}` });
    const last = post(app, '/infill', infill(`${PREFIX}bers`), continued);
    expect((await answers[3]!).status).toBe(499);
    finish();
    expect((await Promise.all(answers)).map(({ status }) => status)).toEqual([200, 200, 200, 499]);
    expect((await last).status).toBe(200);
    expect(engine.requests).toHaveLength(5);
  });

  it('should be those that have ended', async () => {
    const { app, finish } = setUp();
    finish();
    for (const typed of ['', 'b', 'be']) {
      expect((await post(app, '/infill', infill(PREFIX + typed), headersOf())).status).toBe(200);
    }
  });
});
