/** Whoever looks at the page: in the dark, with the keyboard, with a screen reader, in German. */
import type { Page } from 'playwright-core';
import t from 'tap';
import { findings, openPage, sizes, startBrowser, startPageDevice, type Size } from '../support/browser.js';
import { skipWithout } from '../support/tools.js';
import { until } from '../support/waiting.js';

const skip = skipWithout('chromium');
const focused = (page: Page, what: string): Promise<string> =>
  page.evaluate(`document.activeElement.${what}`);

/** Presses Tab until an element fits; fails after a whole round. */
async function tabTo(page: Page, selector: string): Promise<void> {
  for (let presses = 0; presses < 120; presses += 1) {
    await page.keyboard.press('Tab');
    if (await page.evaluate(`document.activeElement.matches(${JSON.stringify(selector)})`)) return;
  }
  throw new Error(`the keyboard does not come to ${selector}`);
}

t.test('axe-core finds nothing serious in any view', { skip }, async (t) => {
  const device = await startPageDevice(t, { sources: ['main', 'yard'] });
  const browser = await startBrowser(t);
  const event = device.hear('Dog');
  const views = [
    ['#/now', '.spectrogram.live canvas[data-state=live]'],
    ['#/day', '.lane .mark'],
    [`#/event?id=${event.id}&at=${event.started_at}`, 'canvas[data-state=drawn]'],
    ['#/history?label=Dog', '[role=slider]'],
    ['#/device', '.models li'],
    ['#/health', '.plots .plot canvas'],
  ] as const;
  for (const size of Object.keys(sizes) as Size[]) {
    for (const colorScheme of ['light', 'dark'] as const) {
      const { page, context } = await openPage(browser, device.url, { size, colorScheme });
      device.state.audio = 'online';
      for (const [path, there] of views) {
        await page.evaluate(`location.hash = ${JSON.stringify(path)}`);
        await page.locator(there).first().waitFor();
        t.same(await findings(page), [], `${size}, ${colorScheme}: ${path}`);
      }
      // Notes and dialogs have colours of their own.
      device.state.audio = 'offline';
      device.changed();
      await page.locator('.problems .note').first().waitFor();
      await page.evaluate(`location.hash = '#/device'`);
      await page.getByRole('button', { name: 'Restart' }).click();
      await page.locator('dialog[open]').waitFor();
      t.same(await findings(page), [], `${size}, ${colorScheme}: a problem and a question`);
      // Under the pointer things have other colours again.
      await page.keyboard.press('Escape');
      await page.evaluate(`location.hash = ${JSON.stringify(views[2][0])}`);
      for (const judgement of ['right', 'wrong']) {
        const pressed = page.locator(`.judge.${judgement === 'right' ? 'yes' : 'no'}`);
        await pressed.click();
        await pressed.and(page.locator('[aria-pressed=true]:not(:disabled)')).waitFor();
        await pressed.hover();
        t.same(await findings(page), [], `${size}, ${colorScheme}: ${judgement}, under the pointer`);
      }
      const back = await page.evaluate('getComputedStyle(document.body).backgroundColor');
      t.equal(
        back,
        colorScheme === 'dark' ? 'rgb(20, 24, 27)' : 'rgb(251, 251, 250)',
        'as the browser prefers',
      );
      await context.close();
    }
  }
});

t.test('the language is that of the browser, or what was chosen', { skip }, async (t) => {
  const device = await startPageDevice(t);
  const browser = await startBrowser(t);
  const { page } = await openPage(browser, device.url, { locale: 'de-DE' });
  await page.getByRole('heading', { name: 'Was gerade zu hören ist' }).waitFor();
  t.equal(await page.evaluate('document.documentElement.lang'), 'de');
  t.match(await page.title(), /^Jetzt · /);
  t.match(await page.locator('.score-value').first().textContent(), /^(< )?0,\d\d/, 'numbers are German too');
  t.equal(
    await page.locator('.sound-name').first().getAttribute('lang'),
    'en',
    'names of sounds are English',
  );
  await page.evaluate("location.hash = '#/device'");
  await page.getByRole('button', { name: 'Vorschlagen: Doorbell' }).click();
  await page.getByText(/^Bei 0,40 hätte es .* in 1,\d Tagen gemeldet\.$/).waitFor();
  await page.getByRole('button', { name: 'So lassen' }).click();
  await page.evaluate("location.hash = '#/'");
  await page.getByRole('heading', { name: 'Was gerade zu hören ist' }).waitFor();
  await page.getByLabel('Sprache').selectOption('en');
  await page.getByRole('heading', { name: 'What is heard now' }).waitFor();
  t.equal(await page.evaluate('document.documentElement.lang'), 'en');
  await page.reload();
  await page.getByRole('heading', { name: 'What is heard now' }).waitFor();
  const french = await openPage(browser, device.url, { locale: 'fr-FR' });
  await french.page.getByRole('heading', { name: 'What is heard now' }).waitFor();
});

t.test('times stay on one line, and names begin below each other', { skip }, async (t) => {
  const device = await startPageDevice(t, { ownEvents: false });
  const browser = await startBrowser(t);
  for (const name of ['Dog', 'Doorbell', 'Alarm']) device.hear(name);
  for (const locale of ['en-US', 'en-GB', 'de-DE']) {
    for (const size of Object.keys(sizes) as Size[]) {
      const { page, context } = await openPage(browser, device.url, { locale, size });
      await page.locator('.events .event').nth(2).waitFor();
      const seen = await page.evaluate<{ lines: number; left: number; gap: number }[]>(`
        [...document.querySelectorAll('.events .event')].map((row) => {
          const range = document.createRange();
          range.selectNodeContents(row.querySelector('time'));
          const [time, name] = [range.getBoundingClientRect(), row.querySelector('.event-name').getBoundingClientRect()];
          const line = parseFloat(getComputedStyle(row).lineHeight);
          return { lines: Math.round(time.height / line), left: name.left, gap: name.left - time.right };
        })`);
      t.ok(seen.length >= 3, `${locale}, ${size}`);
      t.ok(
        seen.every(({ lines, gap }) => lines === 1 && gap > 0),
        'each time has one line, and room for it',
      );
      t.equal(new Set(seen.map(({ left }) => left)).size, 1, 'names have one left edge');
      await context.close();
    }
  }
});

t.test('everything can be reached and done with the keyboard alone', { skip }, async (t) => {
  const device = await startPageDevice(t);
  const { page } = await openPage(await startBrowser(t), device.url);
  await page.locator('.events .event').first().waitFor();
  await page.keyboard.press('Tab');
  t.equal(await focused(page, 'textContent'), 'Skip to the content');
  t.ok(
    await page.locator('.skip').evaluate((element) => (Reflect.get(element, 'offsetWidth') as number) > 50),
    'seen',
  );
  await page.keyboard.press('Enter');
  t.equal(await focused(page, 'localName'), 'main');
  await tabTo(page, '.score-name');
  const outline = await page.evaluate('getComputedStyle(document.activeElement).outlineStyle');
  t.equal(outline, 'solid', 'one sees where one is');
  await page.keyboard.press('Enter');
  await page.getByRole('slider').waitFor();
  t.equal(await focused(page, 'localName'), 'main', 'another view begins at its top');
  await tabTo(page, '[role=slider]');
  await page.keyboard.press('PageUp');
  t.equal(await focused(page, 'ariaValueNow'), '0.53');
  await tabTo(page, 'button.primary');
  await page.keyboard.press('Enter');
  await until(() => device.requests.some(({ command }) => command === 'threshold/set'), 'the threshold', 20);
  await page.reload();
  await tabTo(page, 'nav a[href="#/day"]');
  await page.keyboard.press('Enter');
  await page.locator('.events .event').first().waitFor();
  await tabTo(page, '.event');
  await page.keyboard.press('Enter');
  await page.locator('audio').waitFor();
  await tabTo(page, 'audio');
  await page.keyboard.press('Space');
  await until(
    async () => !(await page.locator('audio').evaluate((audio) => Reflect.get(audio, 'paused') as boolean)),
    'the sound playing',
    10,
  );
  await tabTo(page, 'button.judge.yes');
  await page.keyboard.press('Space');
  await until(() => device.requests.some(({ command }) => command === 'event/judge'), 'the judgement', 20);
  await tabTo(page, 'button.danger');
  await page.keyboard.press('Enter');
  await page.locator('dialog[open]').waitFor();
  await page.keyboard.press('Escape');
  await page.locator('dialog[open]').waitFor({ state: 'detached' });
  t.match(await focused(page, 'textContent'), 'Delete the recording', 'back where one was');
});

t.test('a screen reader finds its way, and is not talked at', { skip }, async (t) => {
  const device = await startPageDevice(t, { ownEvents: false });
  const { page } = await openPage(await startBrowser(t), device.url);
  await page.locator('.spectrogram.live canvas[data-state=live]').waitFor();
  for (const role of ['banner', 'navigation', 'main'] as const) {
    t.equal(await page.getByRole(role).count(), 1, role);
  }
  t.equal(await page.getByRole('heading', { level: 1 }).count(), 1);
  t.equal(await page.locator('nav [aria-current=page]').count(), 1);
  t.equal(await page.getByRole('img', { name: 'Moving spectrogram of the microphone' }).count(), 1);
  // What is told by itself, counted for as long as a few hops take.
  await page.evaluate(`
    window.told = [];
    for (const region of document.querySelectorAll('[aria-live], [role=status], [role=alert]')) {
      new MutationObserver(() => window.told.push(region.textContent)).observe(region, { childList: true, characterData: true, subtree: true });
    }`);
  const seen = await page.locator('.score-value').allTextContents();
  for (const name of ['Dog', 'Doorbell', 'Alarm', 'Dog']) device.hear(name);
  await until(
    async () => (await page.locator('.score-value').allTextContents()).join() !== seen.join(),
    'other scores',
    20,
  );
  await page.locator('.events .event').filter({ hasText: 'Alarm' }).first().waitFor();
  const told = await page.evaluate<string[]>('window.told');
  t.ok(told.length >= 1 && told.length <= 2, 'one of four sounds is told, and no score');
  t.match(told[0], /^Heard: /);
});

t.test(
  'nothing has to be scrolled sideways on the narrowest screen, or with letters twice as large',
  { skip },
  async (t) => {
    const device = await startPageDevice(t, { sources: ['main', 'a-source-with-a-long-name-of-32-c'] });
    const event = device.hear('Baby cry, infant cry');
    const views = [
      ['#/now', '.spectrogram.live canvas[data-state=live]'],
      ['#/day', '.lane .mark'],
      [`#/event?id=${event.id}&at=${event.started_at}`, 'canvas[data-state=drawn]'],
      ['#/history?label=Baby cry, infant cry', '[role=slider]'],
      ['#/device', '.models li'],
      ['#/health', '.plots .plot canvas'],
    ] as const;
    const browser = await startBrowser(t);
    for (const locale of ['en-GB', 'de-DE']) {
      const { page } = await openPage(browser, device.url, { viewport: { width: 320, height: 640 }, locale });
      for (const [path, there] of views) {
        await page.evaluate(`location.hash = ${JSON.stringify(path)}`);
        await page.locator(there).first().waitFor();
        const beside = await page.evaluate<string[]>(`
        [...document.querySelectorAll('main *, header *')]
          .filter((one) => one.getBoundingClientRect().right > innerWidth + 1 && !one.closest('pre, .unseen, .lane-name'))
          .map((one) => one.outerHTML.slice(0, 80))`);
        t.same(beside, [], `${locale}: ${path}`);
      }
    }
  },
);

t.test('who wants no motion gets none', { skip }, async (t) => {
  const device = await startPageDevice(t);
  const { page } = await openPage(await startBrowser(t), device.url, { reducedMotion: 'reduce' });
  await page.locator('.spectrogram.live canvas[data-state=live]').waitFor();
  await page.evaluate(`
    window.frames_ = 0;
    const ask = requestAnimationFrame;
    window.requestAnimationFrame = (step) => { window.frames_ += 1; return ask(step); };`);
  const frames = (): Promise<number> => page.evaluate('window.frames_');
  await until(async () => (await frames()) >= 3, 'a picture', 20);
  const begun = Date.now();
  await until(async () => (await frames()) >= 8, 'more pictures', 20);
  // Eight frames of a screen are 130 ms; eight messages are more than a second and a half.
  t.ok(Date.now() - begun > 500, 'the picture moves with each message, and not with each frame');
});
