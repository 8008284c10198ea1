/**
 * Makes the pictures of the playground from a real run: `npm run playground:images`, after `npm run build`. Needs
 * Chromium (`CHROMIUM=/path/to/it` or on the path) and the fonts of the design, Inter and JetBrains Mono (`apt-get
 * install fonts-inter fonts-jetbrains-mono`).
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { type Recording, slotsAfter } from '../playground/src/canvas/recording.ts';
import { serviceAt } from '../playground/src/service/answerer.ts';
import { denoise, modelsOf } from '../playground/src/service/completions.ts';
import type { CompletionRequest } from '../playground/src/service/request.ts';
import { chromiumPath, launch } from '../support/chromium.ts';
import { MODELS } from '../support/models-folder.ts';
import { serve } from '../support/serving.ts';
import { denoisingSvg } from './denoising-svg.ts';

const FOLDER = join(import.meta.dirname, '../docs/images');
const WEBP_QUALITY = 82;

/** The line of the animation, and the text around it. */
const ABOVE = `const fs = require('fs');
`;
const BEFORE = 'const path = ';
const AFTER = ';';
const REST = `

function readJson(file) {
  return JSON.parse(fs.readFileSync(path.resolve(file), 'utf8'));
}
`;

const SHOTS = [
  { name: 'playground-dark', colorScheme: 'dark', width: 1320, height: 880, scale: 1.5 },
  { name: 'playground-light', colorScheme: 'light', width: 1320, height: 880, scale: 1.5 },
  { name: 'playground-phone-dark', colorScheme: 'dark', width: 390, height: 844, scale: 1.5 },
  { name: 'playground-phone-light', colorScheme: 'light', width: 390, height: 844, scale: 1.5 },
] as const;

/** The pass that shows most: some slots are filled, one is edited, the others are noise. */
const SHOWN_PASS = '4';

/** The model with the wide canvases. */
const ANIMATED_MODEL = 'nano';

const path = chromiumPath();
if (path === undefined) throw new Error('no Chromium: set CHROMIUM, or install it');
await mkdir(FOLDER, { recursive: true });
const service = await serve(MODELS, [], `small,${ANIMATED_MODEL}`);
try {
  await animation(service.url);
  const browser = await launch(path);
  try {
    for (const shot of SHOTS) await screenshot(browser, service.url, shot);
  } finally {
    await browser.close();
  }
} finally {
  await service.stop();
}

async function screenshot(
  browser: Browser,
  url: string,
  { name, colorScheme, width, height, scale }: (typeof SHOTS)[number],
) {
  const context = await browser.newContext({
    viewport: { width, height },
    colorScheme,
    deviceScaleFactor: scale,
    reducedMotion: 'reduce',
    isMobile: width < 500,
    hasTouch: width < 500,
  });
  const page = await context.newPage();
  // The first visit warms the service up, so that the second one has the times of normal use.
  for (let visits = 0; visits < 2; visits++) {
    await page.goto(url);
    await page.locator('.lane').last().locator('.slot').first().waitFor();
    await page.locator('.cm-ghost').waitFor();
  }
  await page.locator('#scrubber').fill(SHOWN_PASS);
  await page.locator('h1').click();
  await page.evaluate(() => window.scrollTo(0, 0));
  const session = await context.newCDPSession(page);
  const { data } = await session.send('Page.captureScreenshot', { format: 'webp', quality: WEBP_QUALITY });
  await writeFile(join(FOLDER, `${name}.webp`), Buffer.from(data, 'base64'));
  console.log(`${name}.webp`);
  await context.close();
}

async function animation(url: string): Promise<void> {
  const answerer = serviceAt({ baseUrl: url, key: '' });
  const model = (await modelsOf(answerer)).find(({ id }) => id === ANIMATED_MODEL);
  if (model === undefined) throw new Error(`${ANIMATED_MODEL} is not served`);
  const shared = {
    ...{ model: model.id, prefix: ABOVE + BEFORE, maxTokens: 16, temperature: 0, seed: 1, stop: ['\n'], editor: false },
    ...{ revealThreshold: undefined, editThreshold: undefined, maxSteps: undefined },
  };
  const requests: CompletionRequest[] = [
    { ...shared, suffix: AFTER + REST, decoding: 'diffusion', canvasWidth: 16 },
    { ...shared, suffix: '', decoding: 'autoregressive', canvasWidth: undefined },
  ];
  // The first run of each is a warm-up; the second is recorded.
  for (const request of requests) await record(answerer, request);
  const [diffusion, autoregressive] = [await record(answerer, requests[0]!), await record(answerer, requests[1]!)];
  const svg = denoisingSvg({ before: BEFORE, after: AFTER }, [
    { name: 'Diffusion', about: 'sees both sides of the cursor, and every slot', recording: diffusion },
    { name: 'Autoregressive', about: 'the same weights from left to right', recording: autoregressive },
  ]);
  await writeFile(join(FOLDER, 'denoising.svg'), svg);
  console.log(`denoising.svg: ${JSON.stringify(diffusion.result?.text)}, ${slotsAfter(diffusion, 99).length} slots`);
}

async function record(answerer: ReturnType<typeof serviceAt>, request: CompletionRequest): Promise<Recording> {
  const steps: Recording['steps'][number][] = [];
  const run = denoise(answerer, request, new AbortController().signal);
  for (let next = await run.next(); ; next = await run.next()) {
    if (next.done) return { decoding: request.decoding, steps, result: next.value };
    steps.push(next.value);
  }
}
