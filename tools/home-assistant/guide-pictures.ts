/**
 * Makes the pictures of docs/home-assistant.md from the real Home Assistant, with a broker and a box that hears the
 * demo recording, in Chromium. Started by tools/home-assistant/guide-pictures.sh.
 */
import { mkdirSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BrowserContext, Locator, Page } from 'playwright-core';
import { createHomeRig, type HomeRig } from '../../test/support/home-assistant-rig.js';
import { projectPath } from '../../test/support/shared.js';
import { launchChromium } from '../page/chromium.js';

const FOLDER = projectPath('docs', 'images');
/** In bytes; a guide is read on a telephone as well. */
const MAX_BYTES = 150_000;
/** Of WebP, of 100. */
const QUALITY = 82;
const WAIT_MS = 60_000;

/** The configuration of the guide. */
const LABELS = [
  'Bark',
  {
    name: 'Baby',
    labels: ['Baby cry, infant cry', 'Crying, sobbing'],
    min_duration_seconds: 2,
    min_gap_seconds: 10,
  },
  {
    name: 'Smoke alarm',
    labels: ['Smoke detector, smoke alarm', 'Fire alarm'],
    device_class: 'smoke',
    confirm: '2/3',
    min_gap_seconds: 10,
  },
  { name: 'Breaking glass', labels: ['Shatter', 'Breaking', 'Glass'] },
];
const BARK = 'binary_sensor.soundpost_nursery_label_bark';
const BABY = 'binary_sensor.soundpost_nursery_label_baby';
const SMOKE = 'binary_sensor.soundpost_nursery_label_smoke_alarm';
const TOP_TAG = 'sensor.soundpost_nursery_top_tag';

const AUTOMATIONS = `
- id: bark
  alias: The dog barks
  use_blueprint:
    path: soundpost/sound_starts.yaml
    input:
      sound_event: event.soundpost_nursery_event
      sounds: [Bark]
`;

/** The cards of the guide. */
const CARDS = [
  {
    type: 'entities',
    title: 'Nursery',
    entities: [BABY, TOP_TAG, 'sensor.soundpost_nursery_level', 'switch.soundpost_nursery_paused'],
  },
  {
    type: 'history-graph',
    title: 'Heard',
    // What a day is in the guide.
    hours_to_show: 0.05,
    entities: [BARK, BABY, SMOKE],
  },
];

const ends: (() => unknown)[] = [];
const say = (text: string) => process.stderr.write(`pictures: ${text}\n`);

/** Takes what is seen of an element, and what is around it, as `docs/images/<name>.webp`. */
async function take(page: Page, name: string, element: Locator, margin: number): Promise<void> {
  const box = await element.boundingBox();
  const view = page.viewportSize();
  if (box === null || view === null) throw new Error(`${name}: nothing to be seen`);
  const x = Math.max(0, box.x - margin);
  const y = Math.max(0, box.y - margin);
  const session = await page.context().newCDPSession(page);
  const { data } = await session.send('Page.captureScreenshot', {
    format: 'webp',
    quality: QUALITY,
    clip: {
      x,
      y,
      width: Math.min(view.width, box.x + box.width + margin) - x,
      height: Math.min(view.height, box.y + box.height + margin) - y,
      scale: 1,
    },
  });
  await session.detach();
  const file = join(FOLDER, `${name}.webp`);
  writeFileSync(file, Buffer.from(data, 'base64'));
  const { size } = statSync(file);
  if (size > MAX_BYTES) throw new Error(`${file} has ${size} bytes, more than ${MAX_BYTES}`);
  say(`${file}, ${Math.ceil(size / 1000)} kB`);
}

/** A browser that is logged in: with the key where the pages keep theirs. */
async function openContext(rig: HomeRig): Promise<BrowserContext> {
  const browser = await launchChromium();
  ends.push(() => browser.close());
  const context = await browser.newContext({
    viewport: { width: 1200, height: 900 },
    locale: 'en',
    timezoneId: 'UTC',
  });
  context.setDefaultTimeout(WAIT_MS);
  const { url, token } = rig.home;
  const login = {
    access_token: token,
    token_type: 'Bearer',
    refresh_token: '',
    expires_in: 86_400,
    expires: Date.now() + 86_400_000,
    hassUrl: url,
    clientId: `${url}/`,
  };
  await context.addInitScript(`localStorage.setItem('hassTokens', ${JSON.stringify(JSON.stringify(login))})`);
  return context;
}

/** A page for one picture; what was on it when something was waited for in vain is kept. */
async function onPage(context: BrowserContext, work: (page: Page) => Promise<void>): Promise<void> {
  const page = await context.newPage();
  try {
    await work(page);
  } catch (error) {
    const path = join(tmpdir(), 'soundpost-picture-failed.png');
    await page.screenshot({ path });
    say(`${path} shows what was there instead`);
    throw error;
  }
  await page.close();
}

async function devicePage(rig: HomeRig, page: Page): Promise<void> {
  const device = (await rig.home.client.devices()).find(({ name }) => name === 'Nursery');
  await page.goto(`${rig.home.url}/config/devices/device/${device!.id}`);
  await page.getByText('Smoke alarm').first().waitFor();
  await rig.home.client.until(BARK, (now) => now?.state === 'on', 180);
  await page.getByText('Detected', { exact: true }).first().waitFor();
  await take(page, 'home-assistant-device', page.locator('ha-config-device-page'), 0);
}

async function automation(rig: HomeRig, page: Page): Promise<void> {
  await page.goto(`${rig.home.url}/config/automation/edit/bark`);
  for (const text of ['Nursery', 'When it starts', 'Add action'])
    await page.getByText(text).first().waitFor();
  await take(page, 'home-assistant-automation', page.locator('ha-config-automation'), 0);
}

async function card(rig: HomeRig, page: Page): Promise<void> {
  const { client, url } = rig.home;
  const place = 'guide-pictures';
  await client.ask('lovelace/dashboards/create', { url_path: place, title: 'Nursery', mode: 'storage' });
  await client.ask('lovelace/config/save', {
    url_path: place,
    config: { views: [{ title: 'Nursery', path: 'all', cards: CARDS }] },
  });
  await page.setViewportSize({ width: 1000, height: 640 });
  await page.goto(`${url}/${place}/all`);
  await page.locator('hui-history-graph-card state-history-charts').first().waitFor();
  // The last sound of the demo recording.
  await client.until(SMOKE, (now) => now?.state === 'on', 240);
  await client.until(SMOKE, (now) => now?.state === 'off', 60);
  await take(page, 'home-assistant-card', page.locator('hui-masonry-view'), 0);
}

async function main(): Promise<void> {
  mkdirSync(FOLDER, { recursive: true });
  const rig = await createHomeRig(
    { teardown: (handler) => ends.push(handler), comment: say },
    { automations: AUTOMATIONS, blueprints: true, integrations: ['logbook'] },
  );
  const { client } = rig.home;
  await rig.box('nursery', { TAGGING_LABELS: JSON.stringify(LABELS) });
  await client.until(BARK, (now) => now?.state === 'off');
  // Enabled as the guide says; Home Assistant takes half a minute for that.
  await client.ask('config/entity_registry/update', { entity_id: TOP_TAG, disabled_by: null });
  await client.until(TOP_TAG, (now) => now !== undefined);
  const context = await openContext(rig);
  for (const make of [automation, devicePage, card]) await onPage(context, (page) => make(rig, page));
}

try {
  await main();
} finally {
  for (const end of ends.reverse()) await end();
}
