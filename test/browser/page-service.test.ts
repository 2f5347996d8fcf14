/**
 * The page of the service itself, as a user starts it: the bundled model hears the demo recording, clips are kept, the
 * broker is the embedded one. What the page shows is what MQTT says, and what it is told to do happens.
 */
import { readFileSync } from 'node:fs';
import type { Page } from 'playwright-core';
import t from 'tap';
import type { EventPayload, InfoPayload, StatePayload } from '../../src/mqtt/contract.js';
import { freePort } from '../support/broker.js';
import { coloursOf, openPage, picture, playClip, startBrowser, type OpenedPage } from '../support/browser.js';
import { createConsole, makeDataDir, startService, type Console } from '../support/service.js';
import { breaches, pagePort, withPage } from '../support/service-rig.js';
import { projectPath } from '../support/shared.js';
import { skipWithout } from '../support/tools.js';
import { until } from '../support/waiting.js';

const skip = skipWithout('chromium');
const DEVICE = 'demo';
/** In the order of the recording; no speech is near the first three. */
const WATCHED = ['Bird', 'Crowing, cock-a-doodle-doo', 'Doorbell', 'Dog', 'Telephone'];

interface Bench {
  console: Console;
  port: number;
  url: string;
}

async function startDemo(t: Parameters<typeof startService>[0] & Tap): Promise<Bench> {
  const broker = await freePort();
  const service = startService(t, {
    ...withPage,
    DATA_DIR: await makeDataDir(t),
    DEVICE_ID: DEVICE,
    BROKER_PORT: String(broker),
    AUDIO_SOURCE: 'file',
    AUDIO_FILE: projectPath('models', 'demo', 'day-at-home.wav'),
    AUDIO_LOOP: 'true',
    TAGGING_LABELS: JSON.stringify(WATCHED),
    TELEMETRY_INTERVAL_SECONDS: '1',
    THERMAL_ENABLED: 'false',
    HOMEASSISTANT_ENABLED: 'false',
    CLIPS_ENABLED: 'true',
  });
  await service.line(({ message }) => message.startsWith('Read along'));
  const console = await createConsole(t, `mqtt://127.0.0.1:${broker}`, DEVICE);
  await console.word('status', (text) => text === 'online');
  const port = await pagePort(service);
  return { console, port, url: `http://127.0.0.1:${port}` };
}

interface Tap {
  teardown(handler: () => unknown): void;
}

const show = (page: Page, path: string): Promise<unknown> =>
  page.evaluate(`location.hash = ${JSON.stringify(path)}`);
const eventRow = (page: Page, name: string) =>
  page.locator('.events .event').filter({ has: page.getByText(name, { exact: true }) });

/** What a person would notice first: there is sound, it is seen, and it has names. */
async function looksAlive(t: { ok(value: unknown, message: string): unknown }, page: Page): Promise<void> {
  await page.locator('.spectrogram.live canvas[data-state=live]').waitFor();
  await until(
    async () => (await coloursOf(page, '.spectrogram.live canvas')) > 50,
    'a drawn spectrogram',
    30,
  );
  const known = new Set(demoLabels());
  await until(
    async () => {
      const scores = page.locator('.columns > div').nth(1).locator('.score');
      const rows = await scores.allTextContents();
      return rows.some((row) => [...known].some((name) => row.startsWith(name)));
    },
    'a sound of the recording among the most likely',
    60,
  );
  const level = await page.getByRole('meter', { name: 'Level' }).getAttribute('aria-valuenow');
  t.ok(Number(level) > -90 && Number(level) < 0, `a level: ${level} dBFS`);
}

/** What is heard in the demo recording. */
function demoLabels(): string[] {
  const { events } = JSON.parse(readFileSync(projectPath('models', 'demo', 'day-at-home.json'), 'utf8')) as {
    events: { label: string }[];
  };
  return events.map(({ label }) => label);
}

t.test('the page of the running service', { skip, timeout: 240_000 }, async (t) => {
  const { console, url } = await startDemo(t);
  const browser = await startBrowser(t);
  const desk = await openPage(browser, url);
  const { page } = desk;

  await t.test('it is heard, seen and named', async (t) => {
    await looksAlive(t, page);
    t.same(
      await page.locator('.columns > div').first().locator('.score .sound-name').allTextContents(),
      WATCHED,
      'what the configuration watches',
    );
  });

  let doorbell!: EventPayload;
  await t.test('an event appears by itself, in the list and on the timeline', async (t) => {
    doorbell = await console.on<EventPayload>('event', ({ label }) => label === 'Doorbell');
    await eventRow(page, 'Doorbell').first().waitFor();
    await picture(page, 'service-now');
    await show(page, '#/day');
    const lane = page.locator('.lane').filter({ has: page.getByText('Doorbell', { exact: true }) });
    await lane.locator('.mark').first().waitFor();
    t.equal(await page.locator(`.event[href*="${doorbell.id}"]`).count(), 1);
    await picture(page, 'service-day');
  });

  await t.test('it is opened: its clip with onset and offset, to be heard and judged', async (t) => {
    await page.locator(`.event[href*="${doorbell.id}"]`).click();
    const ended = await console.on<EventPayload>(
      'event',
      ({ id, event_type: type }) => id === doorbell.id && type === 'ended',
    );
    // The clip is made once the sound and what is kept of the time after it are over.
    await page.locator('.spectrogram.clip canvas[data-state=drawn]').waitFor({ timeout: 60_000 });
    t.ok((await coloursOf(page, '.spectrogram.clip canvas')) > 50, 'the spectrogram is drawn');
    const box = async (selector: string) => (await page.locator(selector).boundingBox())!;
    const frame = await box('.clip-frame');
    const [begins, ends] = [await box('.clip-mark.begins'), await box('.clip-mark.ends')];
    const { duration, at } = await playClip(page);
    t.ok(at > 0.2 && duration > ended.duration_s!, `a clip of ${duration} s is played`);
    const secondsAt = (x: number): number => ((x + 1 - frame.x) / frame.width) * duration;
    t.ok(Math.abs(secondsAt(begins.x) - 2) < 0.2, `two seconds before it: ${secondsAt(begins.x)}`);
    t.ok(
      Math.abs(secondsAt(ends.x) - secondsAt(begins.x) - ended.duration_s!) < 0.2,
      `its ${ended.duration_s} s between the marks`,
    );
    await page.getByRole('button', { name: '✓ right' }).click();
    await page.getByRole('button', { name: '✓ right', pressed: true }).waitFor();
    const { data } = await console.request('history', { label: 'Doorbell', limit: 50 });
    const kept = (data['events'] as { id: string; right: boolean | null }[]).find(
      ({ id }) => id === doorbell.id,
    );
    t.equal(kept?.right, true, 'the history has it');
    const clips = await console.request('clip/list', { limit: 50 });
    t.ok((clips.data['clips'] as { event: string }[]).some(({ event }) => event === doorbell.id));
    await picture(page, 'service-event');
  });

  await t.test('a threshold that is set here holds over MQTT, and so do pause and rate', async (t) => {
    // Scores are kept by the minute: the first one is written when it is over.
    await until(
      async () => {
        const since = new Date(Date.now() - 600_000).toISOString();
        const { data } = await console.request('history/scores', { label: 'Doorbell', since });
        return (data['points'] as unknown[]).length > 0;
      },
      'the scores of a minute',
      90,
    );
    await show(page, '#/history?label=Doorbell');
    const line = page.getByRole('slider', { name: 'Threshold' });
    await line.waitFor();
    t.ok((await coloursOf(page, '.plot canvas')) > 3, 'a curve');
    t.match(await page.locator('.firings').textContent(), /it would have fired (once|\d+ times)/);
    await line.focus();
    await page.keyboard.press('Home');
    for (let presses = 0; presses < 7; presses += 1) await page.keyboard.press('PageUp');
    await picture(page, 'service-history');
    await page.getByRole('button', { name: 'Apply' }).click();
    const info = await console.on<InfoPayload>('info', ({ thresholds = [] }) =>
      thresholds.some(({ label, threshold }) => label === 'Doorbell' && threshold === 0.7),
    );
    t.match(
      info.thresholds?.find(({ label }) => label === 'Doorbell'),
      { from: 'thresholds' },
    );

    await show(page, '#/device');
    await page.getByLabel('All labels', { exact: true }).fill('0.55');
    await page.getByRole('button', { name: 'Save: All labels' }).click();
    await console.on<StatePayload>('state', ({ threshold }) => threshold === 0.55);
    await page.getByRole('button', { name: 'Pause', exact: true }).click();
    await console.on<StatePayload>('state', ({ paused }) => paused);
    await page.getByText('Listening is paused. “Device” goes on with it.').waitFor();
    await page.getByRole('button', { name: 'Listen again' }).click();
    await console.on<StatePayload>('state', ({ paused }) => !paused);
    await page.getByLabel('Looks at the sound').fill('2');
    await page.keyboard.press('Enter');
    await console.on<StatePayload>(
      'state',
      ({ rate_hz: hz, effective_rate_hz: now }) => hz === 2 && now === 2,
    );
    await page.locator('.models li').filter({ hasText: 'soundpost-home' }).getByText('at work').waitFor();
    await picture(page, 'service-device');
    // The whole catalogue is there, folded up.
    await page.getByText(/^\d+ models that can be installed$/).click();
    await page.getByLabel('Find a model').fill('efficientat MN04');
    await page.getByRole('button', { name: 'Install: EfficientAT mn04_as', exact: true }).waitFor();
    t.ok((await page.locator('details .models li').count()) < 5, 'what was searched for');
    await page.getByLabel('Find a model').fill('nothing of that name');
    await page.getByText('No model is called so.').waitFor();
  });

  await t.test('its readings become plots', async (t) => {
    await show(page, '#/health');
    await page.locator('.checks li').nth(2).waitFor();
    for (const title of ['Latency', 'Rate', 'Dropped windows']) {
      const plot = page.locator('.plots > div').filter({ hasText: title }).locator('canvas');
      await plot.waitFor();
    }
    await until(async () => (await coloursOf(page, '.plots .plot canvas')) > 3, 'a line', 20);
    t.match(await page.locator('.plots h3').first().textContent(), /^Latency [\d.]+ ms \(median\)/);
    await picture(page, 'service-health');
  });

  await t.test('on a phone, too', async (t) => {
    const phone: OpenedPage = await openPage(browser, url, { size: 'phone', colorScheme: 'dark' });
    await looksAlive(t, phone.page);
    await picture(phone.page, 'service-now-phone');
    await show(phone.page, `#/event?id=${doorbell.id}&at=${doorbell.started_at}`);
    await phone.page.locator('.spectrogram.clip canvas[data-state=drawn]').waitFor();
    await phone.page.getByRole('button', { name: '✓ right', pressed: true }).waitFor();
    await picture(phone.page, 'service-event-phone');
    t.same(phone.faults, []);
  });

  t.same(desk.faults, [], 'no error, nothing that the policy refused, no request to another host');
  t.same(breaches(console), [], 'and all that was published keeps the contract');
});
