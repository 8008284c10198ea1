/** The editor of the page in front of a scripted service: a plug-in that stays out of the way. */
import { describe, expect, it } from 'vitest';
import { MAX_PAUSE_MS, MIN_PAUSE_MS } from '../../playground/src/editor/pause.ts';
import { chromiumPath, explainSkip } from '../../support/chromium.ts';
import { appOf, engine, visits } from './scripted.ts';
import { code, figuresOf, ghost, write, written } from './visit.ts';

const path = chromiumPath();
if (path === undefined) explainSkip();

describe.skipIf(path === undefined)('the editor', () => {
  const { visitor } = visits(path);

  /**
   * A page that has asked for a completion of `text` and gets no answer before `release`. Its clock stands still: on a
   * busy machine the keys pressed next would be further apart than the pause.
   */
  async function heldAfter(made: ReturnType<typeof engine>, text: string) {
    const gate = Promise.withResolvers<void>();
    let held = false;
    const page = await visitor(appOf(made), {}, async (asked) => {
      if (asked === '/v1/completions' && held) await gate.promise;
    });
    await ghost(page).waitFor();
    held = true;
    const asking = page.waitForRequest((request) => request.url().endsWith('/v1/completions'));
    await write(page, text);
    await asking;
    await page.clock.install();
    await page.clock.pauseAt(Date.now() + 1000);
    const release = () => {
      held = false;
      gate.resolve();
    };
    return { page, release };
  }

  it('should show ghost text for what is typed, and write it at Tab', async () => {
    const made = engine();
    const page = await visitor(appOf(made));
    await write(page, 'const fs = ');
    await ghost(page).waitFor();
    expect(await ghost(page).textContent()).toBe('require()');
    expect(await written(page)).toBe('const fs = ');
    expect(made.requests.at(-1)).toMatchObject({ prefix: 'const fs = ', suffix: '', maxTokens: 32 });
    expect(made.requests.at(-1)).not.toHaveProperty('showCanvas');
    await page.keyboard.press('Tab');
    expect(await written(page)).toBe('const fs = require()');
  });

  it('should show other candidates at Alt-] and Alt-[, and dismiss at Escape', async () => {
    const page = await visitor();
    await write(page, 'x = ');
    await ghost(page).waitFor();
    const shows = async (text: string) =>
      page.waitForFunction((wanted) => {
        const root = document.querySelector('#editor')!.shadowRoot!;
        return root.querySelector('.cm-ghost')?.textContent === wanted;
      }, text);
    await page.keyboard.press('Alt+]');
    await shows('require(2)');
    expect(await page.locator('#status').textContent()).toContain('Candidate 2 of 2');
    await page.keyboard.press('Alt+]');
    await shows('require(3)');
    await page.keyboard.press('Alt+[');
    await shows('require(2)');
    await page.keyboard.press('Escape');
    expect(await ghost(page).count()).toBe(0);
    expect(await written(page)).toBe('x = ');
  });

  it('should keep what is left of the ghost text while it is typed, and ask for nothing', async () => {
    const made = engine();
    const page = await visitor(appOf(made));
    await write(page, 'x = ');
    await ghost(page).waitFor();
    const asked = made.requests.length;
    await page.keyboard.type('req');
    expect(await ghost(page).textContent()).toBe('uire()');
    // A bracket closes itself where one is typed; the ghost text has one.
    await page.keyboard.type('uire(');
    expect(await ghost(page).textContent()).toBe(')');
    expect(await written(page)).toBe('x = require(');
    await page.waitForTimeout(500);
    expect(made.requests).toHaveLength(asked);
  });

  it('should show the rest of an answer whose beginning was typed while it was on its way', async () => {
    const made = engine();
    const { page, release } = await heldAfter(made, 'x = ');
    await page.keyboard.type('requ');
    release();
    await ghost(page).waitFor();
    expect(await ghost(page).textContent()).toBe('ire()');
    expect(made.requests.at(-1)!.prefix).toBe('x = ');
  });

  it('should write the ghost text word by word at Ctrl-→, and line by line at Shift-Tab', async () => {
    const page = await visitor(appOf(engine({ text: 'one(two);\n  three();\n' })));
    await write(page, 'x = ');
    await ghost(page).waitFor();
    const texts = [];
    for (const key of ['ControlOrMeta+ArrowRight', 'ControlOrMeta+ArrowRight', 'Shift+Tab', 'Shift+Tab']) {
      await page.keyboard.press(key);
      texts.push(await written(page));
    }
    expect(texts).toEqual(['x = one', 'x = one(', 'x = one(two);', 'x = one(two);\n  three();']);
  });

  it('should undo what was accepted in one step, and nothing else with it', async () => {
    const page = await visitor();
    await write(page, 'x = ');
    await ghost(page).waitFor();
    await page.keyboard.press('Tab');
    await page.keyboard.type('; y');
    expect(await written(page)).toBe('x = require(); y');
    await page.keyboard.press('ControlOrMeta+z');
    expect(await written(page)).toBe('x = require()');
    await page.keyboard.press('ControlOrMeta+z');
    expect(await written(page)).toBe('x = ');
    await page.keyboard.press('ControlOrMeta+y');
    expect(await written(page)).toBe('x = require()');
  });

  it('should be usable by touch: accept all, a line, a word, the next, none', async () => {
    const page = await visitor(appOf(engine()), {
      viewport: { width: 390, height: 844 },
      hasTouch: true,
      isMobile: true,
    });
    await ghost(page).waitFor();
    await page.locator('#accept-word').tap();
    expect(await ghost(page).textContent()).toBe('()');
    expect(await written(page)).toContain('require');
    await page.locator('#accept').tap();
    expect(await written(page)).toContain('require()');
    await ghost(page).waitFor();
    await page.locator('#dismiss').tap();
    expect(await ghost(page).count()).toBe(0);
    expect(await page.locator('#accept').isDisabled()).toBe(true);
  });

  it('should pause after a key for half of the latency', async () => {
    const page = await visitor();
    await ghost(page).waitFor();
    const { Total: total, Pause: pause } = await figuresOf(page);
    const half = Math.min(MAX_PAUSE_MS, Math.max(MIN_PAUSE_MS, Number.parseFloat(total!) / 2));
    // Both are rounded.
    expect(Math.abs(Number.parseFloat(pause!) - half)).toBeLessThanOrEqual(1);
  });

  it('should ask once for several keys, and cancel the open request when it asks again', async () => {
    const made = engine();
    const { page, release } = await heldAfter(made, 'first');
    await page.keyboard.type(' second');
    const given = page.waitForEvent('requestfailed');
    await page.clock.resume();
    await given;
    release();
    await ghost(page).waitFor();
    expect(made.requests.at(-1)!.prefix).toBe('first second');
    expect(made.requests.filter(({ prefix }) => prefix.startsWith('first ')).map(({ prefix }) => prefix)).toEqual([
      'first second',
    ]);
  });

  it('should leave the editor at Tab when there is nothing to accept', async () => {
    const page = await visitor();
    await write(page, 'x');
    await ghost(page).waitFor();
    await page.keyboard.press('Escape');
    await page.keyboard.press('Tab');
    expect(await code(page).evaluate((content) => content.matches(':focus'))).toBe(false);
  });
});
