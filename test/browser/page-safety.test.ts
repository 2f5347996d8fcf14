/** What strangers may try through the page, and where it may lie. */
import t from 'tap';
import { openPage, startBrowser, startPageDevice } from '../support/browser.js';
import { startPrefixProxy } from '../support/prefix-proxy.js';
import { skipWithout } from '../support/tools.js';
import { until } from '../support/waiting.js';

const skip = skipWithout('chromium');

t.test('names are text, whatever is in them', { skip }, async (t) => {
  const device = await startPageDevice(t, { hostile: true });
  const { page, faults } = await openPage(await startBrowser(t), device.url);
  const dog = device.watched[0]!.name;
  const event = device.hear(dog);
  device.log({ ts: new Date().toISOString(), level: 'error', message: dog, code: null });
  const views = [
    ['#/now', '.events .event'],
    ['#/day', '.lane .mark'],
    [`#/event?id=${event.id}&at=${event.started_at}`, 'canvas[data-state=drawn]'],
    [`#/history?label=${encodeURIComponent(dog)}`, '[role=slider]'],
    [`#/history?label=${encodeURIComponent('javascript:window.harm=1')}`, '[role=slider]'],
    ['#/device', '.more .models li'],
    ['#/health', '.checks li'],
  ] as const;
  for (const [path, there] of views) {
    await page.evaluate(`location.hash = ${JSON.stringify(path)}`);
    await page.locator(there).first().waitFor();
    t.equal(await page.evaluate('window.harm'), undefined, path);
    t.equal(
      await page.locator('main img, main script, [onerror], [onmouseover]').count(),
      0,
      'no markup came of it',
    );
    const hrefs = await page
      .locator('a')
      .evaluateAll((links) => links.map((link) => String(Reflect.get(link, 'href'))));
    t.ok(
      hrefs.every((href) => href.startsWith(device.url)),
      'every link stays here',
    );
  }
  await page.evaluate(`location.hash = '#/now'`);
  await page.locator('.event-name > .sound-name').filter({ hasText: dog }).first().waitFor();
  t.match(await page.locator('.device-name').textContent(), 'Attic "><img src=x', 'shown as it is');
  t.same(faults, []);
});

t.test('nothing that is not the page’s own may run', { skip }, async (t) => {
  const device = await startPageDevice(t, { pastDays: 1 });
  const { page, faults } = await openPage(await startBrowser(t), device.url);
  await page.locator('.score').first().waitFor();
  t.same(faults, []);
  await page.evaluate(`
    const script = document.createElement('script');
    script.textContent = 'window.harm = 1';
    document.body.append(script);
    document.body.setAttribute('style', 'color: red');
    const elsewhere = new Image();
    elsewhere.src = 'data:image/gif;base64,R0lGODlhAQABAAAAACw=';`);
  await until(() => faults.length >= 3, 'the refusals', 10);
  t.equal(await page.evaluate('window.harm'), undefined);
  t.ok(
    faults.every(
      (fault) => fault.includes('Content Security Policy') || fault.startsWith('asked elsewhere: data:'),
    ),
  );
});

t.test('below a path of a reverse proxy everything works', { skip }, async (t) => {
  const device = await startPageDevice(t, { pastDays: 1, web: { hosts: ['127.0.0.1'] } });
  const url = await startPrefixProxy(t, '/house/soundpost', device.port);
  const { page, faults } = await openPage(await startBrowser(t), url);
  const asked: string[] = [];
  page.on('request', (request) => asked.push(new URL(request.url()).pathname));
  await page.reload();
  await page.locator('canvas[data-state=live]').waitFor();
  device.hear('Dog');
  await page.locator('.events .event').filter({ hasText: 'Dog' }).first().click();
  await page.locator('canvas[data-state=drawn]').waitFor();
  await page.getByRole('button', { name: '✓ right' }).click();
  await page.getByRole('button', { name: '✓ right', pressed: true }).waitFor();
  t.ok(asked.length > 5 && asked.every((path) => path.startsWith('/house/soundpost/')));
  t.same(faults, []);
});

t.test('where there is a password it is asked for', { skip }, async (t) => {
  const device = await startPageDevice(t, { pastDays: 1, web: { password: 'a long one' } });
  const { page } = await openPage(await startBrowser(t), device.url, { locale: 'de-DE' });
  const field = page.getByLabel('Passwort');
  await field.fill('a wrong one');
  await page.keyboard.press('Enter');
  await page.getByText('Das ist nicht das Passwort.').waitFor();
  t.equal(await page.locator('.score').count(), 0);
  await field.fill('a long one');
  await page.keyboard.press('Enter');
  await page.locator('.score').first().waitFor();
  await page.evaluate(`location.hash = '#/device'`);
  await page.getByRole('button', { name: 'Abmelden' }).click();
  await field.waitFor();
  t.equal(await page.locator('.score').count(), 0);
});

t.test('when the device goes and comes back, the page says so and goes on', { skip }, async (t) => {
  const device = await startPageDevice(t, { pastDays: 1 });
  const browser = await startBrowser(t);
  const { page, context } = await openPage(browser, device.url);
  await page.locator('.dot.live').waitFor();
  await context.setOffline(true);
  // What is open already is not cut by that; a feed that is asked for anew is.
  await page.evaluate(`
    Object.defineProperty(document, 'visibilityState', { value: 'hidden', configurable: true });
    document.dispatchEvent(new Event('visibilitychange'));`);
  await until(() => device.web.counters().viewers === 0, 'a page that nobody sees letting go', 20);
  await page.evaluate(`
    Object.defineProperty(document, 'visibilityState', { value: 'visible', configurable: true });
    document.dispatchEvent(new Event('visibilitychange'));`);
  await page.getByText('The connection to the device is lost.').waitFor();
  await context.setOffline(false);
  await page.locator('.dot.live').waitFor();
  await page.locator('.problems p').first().waitFor({ state: 'detached' });
  device.hear('Dog');
  await page.locator('.events .event').filter({ hasText: 'Dog' }).first().waitFor();
});
