/** The page against the whole service with a key: the bundled model, there and in the browser. */
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { newKey } from '../../src/middleware/api-keys.ts';
import { chromiumPath, explainSkip, launch } from '../../support/chromium.ts';
import { MODELS } from '../../support/models-folder.ts';
import { type Service, serve } from '../../support/serving.ts';
import { open, type Visit, write } from './visit.ts';

const path = chromiumPath();
if (path === undefined) explainSkip();

/** Loading the model on a machine that does other things as well. */
const LOAD_MS = 45_000;

const WEIGHTS = '**/models/nano/model.safetensors';

/** Of all files of a model, as the page has it. */
function megabytesOf(model: string): string {
  const { files } = JSON.parse(readFileSync(join(MODELS, model, 'manifest.json'), 'utf8')) as {
    files: { size: number }[];
  };
  return (files.reduce((sum, { size }) => sum + size, 0) / 1e6).toFixed(1);
}

describe.skipIf(path === undefined)('the page in front of the service', () => {
  let browser: Browser;
  let service: Service;
  let key: string;
  let folder: string;
  let visit: Visit;

  beforeAll(async () => {
    const made = await newKey('visitor');
    key = made.key;
    folder = await mkdtemp(join(tmpdir(), 'quicksilver-browser-'));
    await writeFile(join(folder, 'key.env'), `API_KEYS=${made.line}\n`);
    [service, browser] = await Promise.all([serve(MODELS, ['--env-file', join(folder, 'key.env')]), launch(path!)]);
  });

  afterAll(async () => {
    await browser?.close();
    await service?.stop();
    await rm(folder, { recursive: true, force: true });
  });

  afterEach(async () => {
    await visit.context.close();
    expect(visit.complaints).toEqual([]);
  });

  async function visitor(options: Parameters<typeof open>[1] = {}): Promise<Page> {
    visit = await open(browser, options);
    const { page, context } = visit;
    await context.addInitScript((secret) => {
      if (localStorage.length === 0) localStorage.setItem('quicksilver-playground', JSON.stringify({ key: secret }));
    }, key);
    await page.goto(service.url);
    await chip(page, 'nano');
    return page;
  }

  const chip = (page: Page, text: string) =>
    expect.poll(() => page.locator('#model-chip').textContent(), { timeout: LOAD_MS }).toBe(text);

  const move = (page: Page, place: 'service' | 'browser') =>
    page.locator(`input[name="place"][value="${place}"]`).check({ force: true });

  /** Runs both decoders after a text, and gives every slot that they decided on. */
  async function race(page: Page, text: string): Promise<string[]> {
    await write(page, text);
    await page.locator('#race').click();
    await expect.poll(() => page.locator('#lanes').getAttribute('aria-busy'), { timeout: LOAD_MS }).toBe('false');
    expect(await page.locator('.lane .before').allTextContents()).toEqual([text, text]);
    const said = await page
      .locator('.lane')
      .evaluateAll((lanes) =>
        lanes.map((lane) =>
          [...lane.querySelectorAll('.slot')].map((slot) => slot.getAttribute('aria-label')).join(' '),
        ),
      );
    expect(said[0]).not.toBe('');
    return said;
  }

  /** Copies are stored concurrently with the loading, and may follow it: three files and the manifest. */
  const allKept = (page: Page) =>
    expect
      .poll(() => page.evaluate(async () => (await (await caches.open('quicksilver-weights')).keys()).length))
      .toBe(4);

  it('should say in the browser what the service says, greedily and from a seed', async () => {
    const page = await visitor();
    await page.locator('#decoding-panel summary').click();
    const said: Record<string, string[][]> = { service: [], browser: [] };
    for (const place of ['service', 'browser'] as const) {
      await move(page, place);
      await chip(page, place === 'browser' ? 'nano · here' : 'nano');
      for (const temperature of ['0', '1']) {
        await page.locator('#temperature').fill(temperature);
        await page.locator('#seed').fill('7');
        said[place]!.push(await race(page, 'const fs = '));
      }
    }
    expect(said.browser).toEqual(said.service);
    const [greedy, drawn] = said.service!;
    expect(drawn).not.toEqual(greedy);
  });

  it('should show how far the weights are, keep them, and not ask for them again', async () => {
    const page = await visitor();
    const loading = page.locator('#loading');
    await page.route(WEIGHTS, async (route) => {
      await loading.waitFor({ state: 'visible' });
      expect(await page.locator('#loading-text').textContent()).toMatch(/Fetching the weights of nano/);
      await route.continue();
    });
    await move(page, 'browser');
    await chip(page, 'nano · here');
    expect(await loading.isVisible()).toBe(false);
    expect(await page.locator('#loading-text').textContent()).toMatch(/: (\d+\.\d) of \1 MB$/);

    await page.unroute(WEIGHTS);
    await allKept(page);
    const asked: string[] = [];
    page.on('request', (request) => asked.push(new URL(request.url()).pathname));
    await page.reload();
    await chip(page, 'nano · here');
    expect(asked).toContain('/models/nano/manifest.json');
    expect(asked).not.toContain('/models/nano/model.safetensors');
  });

  it('should offer all models here with their sizes, and say how far the large one is while it comes', async () => {
    const both = await serve(MODELS, [], 'small,nano');
    try {
      visit = await open(browser);
      const { page } = visit;
      const loaded: string[] = [];
      await page.exposeFunction('tell', (text: string) => loaded.push(text));
      await page.goto(both.url);
      await expect.poll(() => page.locator('#model option').count(), { timeout: LOAD_MS }).toBe(2);
      await page.evaluate(() => {
        const text = document.querySelector('#loading-text')!;
        const { tell } = window as unknown as { tell: (text: string) => void };
        new MutationObserver(() => tell(text.textContent!)).observe(text, { childList: true, characterData: true });
      });
      await move(page, 'browser');
      await expect
        .poll(() => page.locator('#model option').allTextContents())
        .toEqual([`small · ${megabytesOf('small')} MB`, `nano · ${megabytesOf('nano')} MB`]);
      await chip(page, 'small · here');
      const whole = megabytesOf('small');
      const shares = loaded.flatMap((text) => / of small: (.+) of (.+) MB$/.exec(text)?.slice(1, 3).join(' of ') ?? []);
      expect(new Set(shares).size).toBeGreaterThan(3);
      expect(shares.at(-1)).toBe(`${whole} of ${whole}`);
      expect(await page.locator('#loading').isVisible()).toBe(false);
      await page.locator('#model').selectOption('nano');
      await chip(page, 'nano · here');
    } finally {
      await both.stop();
    }
  });

  it('should fetch weights again that are damaged where they are kept', async () => {
    const page = await visitor();
    await move(page, 'browser');
    await chip(page, 'nano · here');
    const damage = () =>
      page.evaluate(async () => {
        const cache = await caches.open('quicksilver-weights');
        let count = 0;
        for (const request of await cache.keys()) {
          if (!request.url.includes('/weights/')) continue;
          const bytes = new Uint8Array(await (await cache.match(request))!.arrayBuffer());
          bytes[bytes.length - 1]! ^= 1;
          await cache.put(request, new Response(bytes));
          count++;
        }
        return count;
      });
    await allKept(page);
    expect(await damage()).toBe(3);
    await page.reload();
    await chip(page, 'nano · here');
    expect(await page.locator('.problem').count()).toBe(0);
  });

  it('should say that weights which the service lacks are missing', async () => {
    const page = await visitor();
    await page.route('**/models/nano/**', (route) =>
      route.fulfill({
        status: 503,
        json: {
          error: {
            message: "The model 'nano' is not available: missing model.safetensors.",
            code: 'model_unavailable',
          },
        },
      }),
    );
    await move(page, 'browser');
    const problem = page.locator('.problem');
    await expect.poll(() => problem.textContent()).toContain('missing model.safetensors');
    await page.unroute('**/models/nano/**');
    await problem.locator('[data-remedy="retry"]').click();
    await chip(page, 'nano · here');
    expect(await problem.count()).toBe(0);
  });

  it('should work without a network once the model is in the browser', async () => {
    const page = await visitor({ serviceWorkers: 'allow' });
    await page.evaluate(() => navigator.serviceWorker.ready.then(() => undefined));
    await move(page, 'browser');
    await chip(page, 'nano · here');
    const before = await race(page, 'const fs = ');
    await allKept(page);
    await visit.context.setOffline(true);
    await page.reload();
    await chip(page, 'nano · here');
    expect(await race(page, 'const fs = ')).toEqual(before);
  });
});
