/** The page for a visitor, with the service in this process: requests of the browser go to an app of the test. */
import { readFile } from 'node:fs/promises';
import { join, normalize } from 'node:path';
import type { Browser, BrowserContext, BrowserContextOptions, Page } from 'playwright-core';
import type { Assets } from '../../src/api/service/playground.ts';
import type { createApp } from '../../src/app.ts';

type App = ReturnType<typeof createApp>;

/** Where nothing listens: what the app does not answer is an error. A secure context, as localhost always is. */
export const ORIGIN = 'http://localhost:8';

const BUILT = join(import.meta.dirname, '../../build/playground');

/** The built page, as the platform's binding hands it out. */
export const builtAssets: Assets = {
  async fetch(request) {
    const path = normalize(new URL(request.url).pathname);
    const bytes = await readFile(join(BUILT, path)).catch(() => undefined);
    return bytes === undefined ? new Response(null, { status: 404 }) : new Response(bytes);
  },
};

export interface Visit {
  context: BrowserContext;
  page: Page;
  /** What the browser complained about: errors of scripts, and all that the page's policy refused. */
  complaints: string[];
}

/** Opens a page in a browser context of its own, so that nothing is kept from one visit to the next. */
export async function open(browser: Browser, options: BrowserContextOptions = {}): Promise<Visit> {
  const context = await browser.newContext({ reducedMotion: 'reduce', serviceWorkers: 'block', ...options });
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('console', (message) => {
    if (/Content Security Policy|Refused to/i.test(message.text())) complaints.push(message.text());
  });
  return { context, page, complaints };
}

/** Lets `app` answer all requests of the page to `ORIGIN`; `before` can wait, or throw like a failing network. */
export async function answerWith(page: Page, app: App, before: (path: string) => Promise<void> = async () => {}) {
  await page.route(`${ORIGIN}/**`, async (route) => {
    const request = route.request();
    try {
      await before(new URL(request.url()).pathname);
    } catch {
      return route.abort('connectionrefused');
    }
    const response = await app.request(request.url(), {
      method: request.method(),
      headers: await request.allHeaders(),
      ...(request.method() === 'POST' && { body: request.postData() ?? '' }),
    });
    const body = Buffer.from(await response.arrayBuffer());
    // The visitor may have left in the meantime.
    await route
      .fulfill({ status: response.status, headers: Object.fromEntries(response.headers), body })
      .catch(() => {});
  });
}

/** The text that is shown and not written. */
export const ghost = (page: Page) => page.locator('.cm-ghost');

export const code = (page: Page) => page.locator('.cm-content');

/** Text of the editor, ghost text left out. */
export function written(page: Page): Promise<string> {
  return code(page).evaluate((content) => {
    const copy = content.cloneNode(true) as HTMLElement;
    for (const shown of copy.querySelectorAll('.cm-ghost')) shown.remove();
    return [...copy.querySelectorAll('.cm-line')].map((line) => line.textContent).join('\n');
  });
}

/** Empties the editor and types. */
export async function write(page: Page, text: string): Promise<void> {
  await code(page).focus();
  await page.keyboard.press('ControlOrMeta+a');
  await page.keyboard.press('Delete');
  await page.keyboard.type(text);
}

/** What the page says of the last completion, with plain spaces. */
export async function figuresOf(page: Page): Promise<Record<string, string>> {
  const entries = await page
    .locator('[data-figure]')
    .evaluateAll((figures) =>
      figures.map((figure) => [figure.getAttribute('data-figure')!, figure.querySelector('dd')!.textContent]),
    );
  return Object.fromEntries(entries.map(([name, value]) => [name, value!.replaceAll('\u00a0', ' ')]));
}
