/** The stage of the page in front of a scripted service, and the layout of the whole page. */
import type { Page } from 'playwright-core';
import { describe, expect, it } from 'vitest';
import { chromiumPath, explainSkip } from '../../support/chromium.ts';
import { appOf, engine, visits } from './scripted.ts';
import { ghost, write } from './visit.ts';

const path = chromiumPath();
if (path === undefined) explainSkip();

const PHONE = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true };

describe.skipIf(path === undefined)('the stage', () => {
  const { visitor } = visits(path);

  const lane = (page: Page, name: 'Diffusion' | 'Left to right') => page.locator(`.lane[aria-label="${name}"]`);

  const shown = (page: Page) => lane(page, 'Left to right').locator('.slot').first().waitFor();

  const states = (page: Page, name: 'Diffusion' | 'Left to right') =>
    lane(page, name)
      .locator('.slot')
      .evaluateAll((slots) => slots.map(({ dataset }) => dataset.change ?? dataset.state));

  it('should open on a canvas in the middle of code, decoded by both decoders', async () => {
    const made = engine();
    const page = await visitor(appOf(made));
    await shown(page);
    const [diffusion, autoregressive] = made.requests;
    expect(diffusion).toMatchObject({ showCanvas: true, canvasWidth: 16, maxTokens: 16, stop: ['\n'] });
    expect(diffusion!.suffix).not.toBe('');
    expect(autoregressive).toMatchObject({ decoding: 'autoregressive', suffix: '', maxTokens: 16, stop: ['\n'] });
    expect(autoregressive!.prefix).toBe(diffusion!.prefix);
    const code = await lane(page, 'Diffusion').locator('.code').textContent();
    expect(code).toContain('function removeListeners(element) {');
    expect(code).toContain("document.removeEventListener('focus', onFocus);");
    expect(await page.locator('#stage-rule').textContent()).toContain('Both stop by one rule: at the end of the line');
  });

  it('should show every pass under the scrubber, with confidence, order and edits', async () => {
    const page = await visitor();
    await shown(page);
    const scrubTo = (pass: number) => page.locator('#scrubber').fill(String(pass));
    const chips = lane(page, 'Diffusion').locator('.slot');
    await scrubTo(0);
    expect(await states(page, 'Diffusion')).toEqual(['mask', 'mask', 'mask', 'mask']);
    await scrubTo(1);
    expect(await states(page, 'Diffusion')).toEqual(['reveal', 'mask', 'mask', 'mask']);
    expect(await states(page, 'Left to right')).toEqual(['reveal', 'mask']);
    expect(await chips.first().evaluate((chip) => chip.style.getPropertyValue('--confidence'))).toBe('0.900');
    await scrubTo(2);
    expect(await states(page, 'Diffusion')).toEqual(['token', 'reveal', 'reveal', 'drop']);
    expect(await lane(page, 'Diffusion').locator('.lane-figures dd').allTextContents()).toEqual([
      ...['2\u00a0of\u00a03', '4.0\u00a0ms', '–'],
    ]);
    await scrubTo(3);
    expect(await states(page, 'Diffusion')).toEqual(['token', 'edit', 'end', 'dropped']);
    expect(await chips.nth(1).getAttribute('data-edited')).toBe('yes');
    expect(await chips.nth(1).getAttribute('aria-label')).toBe(
      '2: "()" (95\u00a0%), edited in this pass, was "[" until pass 3',
    );
    expect(await chips.locator('.slot-pass').allTextContents()).toEqual(['1', '2→3', '2', '']);
    expect(await page.locator('#caption').textContent()).toBe('Pass 3 edits “[” to “()”.');
    expect(await page.locator('#scrubber').getAttribute('aria-valuetext')).toContain('pass 3 of 3');
    await page.locator('#clock').selectOption('cpu');
    expect(await page.locator('#scrubber-text').textContent()).toBe('6.0 of 6.0\u00a0ms');
  });

  it('should play by itself once, then wait under the scrubber', async () => {
    const page = await visitor(appOf(engine()), { reducedMotion: 'no-preference' });
    await page.locator('#play[data-icon="pause"]').waitFor();
    await page.locator('#play[data-icon="play"]').waitFor();
    expect(await page.locator('#scrubber').inputValue()).toBe('3');
    await page.locator('#play').click();
    expect(await page.locator('#play').getAttribute('data-icon')).toBe('pause');
    await page.locator('#scrubber').fill('1');
    expect(await page.locator('#play').getAttribute('data-icon')).toBe('play');
    expect(await states(page, 'Diffusion')).toEqual(['reveal', 'mask', 'mask', 'mask']);
  });

  it('should not move where motion is to be reduced, and show the end with the order of its slots', async () => {
    const page = await visitor();
    await shown(page);
    expect(await page.locator('#play').getAttribute('data-icon')).toBe('play');
    expect(await page.locator('#scrubber').inputValue()).toBe('3');
    expect(await lane(page, 'Diffusion').locator('.slot-pass').allTextContents()).toEqual(['1', '2→3', '2', '']);
    const animations = await page.evaluate(() => document.getAnimations().length);
    expect(animations).toBe(0);
  });

  it('should decode at the cursor of the editor when asked to, and again with other settings', async () => {
    const made = engine();
    const page = await visitor(appOf(made));
    await write(page, 'x = ');
    await ghost(page).waitFor();
    const canvases = () => made.requests.filter(({ showCanvas }) => showCanvas);
    await page.keyboard.press('ControlOrMeta+Enter');
    await expect.poll(() => canvases().at(-1)).toMatchObject({ prefix: 'x = ', decoding: 'autoregressive' });
    await page.locator('#stage-width').selectOption('32');
    await expect.poll(() => canvases().at(-2)).toMatchObject({ prefix: 'x = ', canvasWidth: 32, maxTokens: 32 });
    await page.locator('#decoding-panel summary').click();
    await page.locator('#revealThreshold').fill('0.9');
    await expect.poll(() => canvases().at(-2)?.revealThreshold).toBe(0.9);
  });

  it.each([
    ['a desktop', {}],
    ['a phone', PHONE],
    // On a busy machine Chromium may set the width of a phone after the first frame, which moves what is aligned right.
  ])(
    'should move nothing on %s when the page fills, plays, and shows another completion',
    { retry: 2 },
    async (_, options) => {
      const page = await visitor(appOf(engine()), { ...options, reducedMotion: 'no-preference' });
      await page.locator('#play[data-icon="pause"]').waitFor();
      await page.locator('#play[data-icon="play"]').waitFor();
      await ghost(page).waitFor();
      await page.locator('#next').evaluate((button: HTMLButtonElement) => button.click());
      await expect.poll(() => page.locator('#status').textContent()).toContain('Candidate 2 of 2');
      // https://wicg.github.io/layout-instability/: what has moved without being asked to, and which elements.
      const moved = await page.evaluate(
        () =>
          new Promise<string[]>((resolve) => {
            new PerformanceObserver((list, observer) => {
              observer.disconnect();
              type Shift = PerformanceEntry & { sources: { node: Node | null }[] };
              resolve(
                (list.getEntries() as Shift[]).flatMap(({ sources }) =>
                  sources.map(({ node }) => (node instanceof Element ? node.outerHTML.slice(0, 80) : String(node))),
                ),
              );
            }).observe({ type: 'layout-shift', buffered: true });
            setTimeout(() => resolve([]), 1000);
          }),
      );
      expect(moved).toEqual([]);
    },
  );

  it.each([
    ['a desktop', {}],
    ['a phone', PHONE],
  ])('should keep all text in its panel on %s, and no unit apart from its number', async (_, options) => {
    const long = 'anExtraordinarilyLongIdentifierThatNoLineOfAPhoneCanHold'.repeat(3);
    const page = await visitor(appOf(engine({ text: long })), options);
    await ghost(page).waitFor();
    await page.locator('#decoding-panel summary').click();
    const outside = await page.evaluate(() => {
      const leaves = (element: Element, panel: Element) => {
        const inner = element.getBoundingClientRect();
        const outer = panel.getBoundingClientRect();
        return inner.width > 0 && (inner.left < outer.left - 1 || inner.right > outer.right + 1);
      };
      const scrolls = (element: Element): boolean =>
        element.parentElement !== null &&
        (getComputedStyle(element.parentElement).overflowX !== 'visible' || scrolls(element.parentElement));
      return [...document.querySelectorAll('.panel')].flatMap((panel) =>
        [...panel.querySelectorAll('*')]
          .filter((element) => leaves(element, panel) && !scrolls(element))
          .map((element) => element.outerHTML.slice(0, 80)),
      );
    });
    expect(outside).toEqual([]);
    const wrapped = await page.evaluate(() =>
      [...document.querySelectorAll('dd')]
        .filter(
          (value) =>
            value.getClientRects().length > 0 &&
            value.offsetHeight > 1.6 * Number.parseFloat(getComputedStyle(value).fontSize),
        )
        .map((value) => value.outerHTML),
    );
    expect(wrapped).toEqual([]);
  });
});
