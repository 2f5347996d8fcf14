/** Everything that the page shows and does, in a real browser, on a phone and on a desk. */
import type { Page } from 'playwright-core';
import t from 'tap';
import type { ScriptedDevice } from '../../tools/page/device/device.js';
import {
  coloursOf,
  openPage,
  picture,
  playClip,
  sizes,
  startBrowser,
  startPageDevice,
  type Size,
} from '../support/browser.js';
import { skipWithout } from '../support/tools.js';
import { until } from '../support/waiting.js';

const skip = skipWithout('chromium');

/** The newest request of a command, once it has come. */
async function requested(device: ScriptedDevice, command: string): Promise<Record<string, unknown>> {
  const find = () => device.requests.findLast((one) => one.command === command);
  await until(() => find() !== undefined, `a request for ${command}`, 20);
  return find()!.input;
}
const textOf = async (page: Page, selector: string): Promise<string> =>
  ((await page.locator(selector).first().textContent()) ?? '').trim();
const card = (page: Page, title: string) =>
  page.locator('section.card').filter({ has: page.getByRole('heading', { name: title, exact: true }) });
/** What lies beside the page would have to be scrolled to, sideways. */
const overhang = (page: Page): Promise<number> =>
  page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth');

for (const size of Object.keys(sizes) as Size[]) {
  t.test(size, { skip }, async (t) => {
    const device = await startPageDevice(t, { ownEvents: false });
    const browser = await startBrowser(t);
    const { page, faults } = await openPage(browser, device.url, { size });
    const show = async (path: string): Promise<void> => {
      await page.evaluate(`location.hash = ${JSON.stringify(path)}`);
      await page.locator('main h1').first().waitFor();
    };

    await t.test(
      'now: the moving spectrogram, scores with thresholds, the level, what was heard',
      async (t) => {
        await page.locator('.spectrogram.live canvas[data-state=live]').waitFor();
        await until(
          async () => (await coloursOf(page, '.spectrogram.live canvas')) > 50,
          'a drawn spectrogram',
          20,
        );
        t.equal(device.spectrograms, 1);
        t.same(
          await page.locator('.columns > div').first().locator('.score .sound-name').allTextContents(),
          device.watched.map(({ name }) => name),
          'what is watched, in its order',
        );
        t.equal(
          await page.locator('.columns > div').first().locator('.score-mark').count(),
          device.watched.length,
        );
        t.ok(
          (await page.locator('.columns > div').nth(1).locator('.score').count()) >= 5,
          'the most likely ones',
        );
        t.match(
          await page.getByRole('meter', { name: 'Level' }).getAttribute('aria-valuetext'),
          /^-?\d+ dBFS/,
        );
        device.hear('Doorbell');
        await page.locator('.events .event').filter({ hasText: 'Doorbell' }).first().waitFor();
        t.ok((await page.locator('.events .event').count()) > 1, 'what came before is there too');
        t.ok((await overhang(page)) <= 0, 'nothing lies beside the page');
        t.ok((await picture(page, `${size}-now`)).length > 20_000);
        await show('#/health');
        await until(() => device.spectrograms === 0, 'nobody looking at the spectrogram any more', 10);
      },
    );

    await t.test('a day: the timeline by label, the list, other days', async (t) => {
      await show('#/day');
      await page.locator('.lane .mark').first().waitFor();
      t.ok((await page.locator('.lane').count()) >= 2);
      await until(
        async () => {
          const told = await textOf(page, 'section.card:nth-of-type(2) h2');
          const marks = await page.locator('.lane .mark').count();
          return marks >= 1 && Number.parseInt(told, 10) === marks;
        },
        'a mark for each event',
        20,
      );
      const before = await page.locator('.events .event').count();
      device.hear('Alarm');
      await until(async () => (await page.locator('.events .event').count()) > before, 'the new event', 20);
      await page.getByLabel('Show').selectOption('Alarm');
      const shown = await page.locator('.events .event-name > .sound-name').allTextContents();
      t.ok(shown.length > 0 && shown.every((name) => name === 'Alarm'), 'only what was chosen');
      t.ok((await overhang(page)) <= 0);
      await picture(page, `${size}-day`);
      await page.getByRole('link', { name: 'Day before' }).click();
      await page.locator('.lane .mark').first().waitFor();
      t.match(await page.evaluate('location.hash'), /^#\/day\?date=\d{4}-\d\d-\d\d$/);
      await page.getByLabel('Show').selectOption('');
      await until(
        async () => (await page.locator('.events .event').count()) > 10,
        'a whole day of events, once all are asked for',
        20,
      );
      t.not(await textOf(page, 'main h1'), 'Today');
      await page.locator('.lane .mark').last().click();
      await page.getByRole('heading', { name: 'Right or wrong?' }).waitFor();
    });

    await t.test('an event: its sound, onset and offset, its scores, right and wrong', async (t) => {
      await show('#/now');
      const event = device.hear('Dog');
      await page.locator(`.event[href*="${event.id}"]`).click();
      await page.locator('.spectrogram.clip canvas[data-state=drawn]').waitFor();
      t.ok((await coloursOf(page, '.spectrogram.clip canvas')) > 50, 'the spectrogram is drawn');
      const frame = (await page.locator('.clip-frame').boundingBox())!;
      const [begins, ends] = [
        (await page.locator('.clip-mark.begins').boundingBox())!,
        (await page.locator('.clip-mark.ends').boundingBox())!,
      ];
      const seconds = event.duration_s! + 4;
      t.ok(
        Math.abs((begins.x + 1 - frame.x) / frame.width - 2 / seconds) < 0.02,
        'the onset after two seconds',
      );
      t.ok(
        Math.abs((ends.x + 1 - frame.x) / frame.width - (seconds - 2) / seconds) < 0.02,
        'the offset before two',
      );
      const played = await playClip(page);
      t.ok(Math.abs(played.duration - seconds) < 0.1, 'the whole clip');
      await until(
        async () => ((await page.locator('.clip-position').boundingBox())?.x ?? 0) > frame.x + 5,
        'the position moving along',
        10,
      );
      await page.locator('.clip-frame').click({ position: { x: frame.width / 2, y: 20 } });
      await until(
        async () =>
          Math.abs(
            (await page.locator('audio').evaluate((one) => Reflect.get(one, 'currentTime') as number)) -
              seconds / 2,
          ) < 0.3,
        'the sound going to where the spectrogram was clicked',
        10,
      );
      await page.locator('.plot canvas').waitFor();
      t.ok((await coloursOf(page, '.plot canvas')) > 3, 'the scores are drawn');
      t.equal(await page.locator('.plot-span').count(), 1, 'when it was is marked');
      await page.getByRole('button', { name: 'wrong' }).click();
      t.same(await requested(device, 'event/judge'), { id: event.id, right: false });
      await page.getByRole('button', { name: 'wrong', pressed: true }).waitFor();
      t.ok((await overhang(page)) <= 0);
      await picture(page, `${size}-event`);
      await page.reload();
      await page.getByRole('button', { name: 'wrong', pressed: true }).waitFor();
      await page.getByRole('button', { name: 'right', exact: false, pressed: false }).first().click();
      await page.getByRole('button', { name: '✓ right', pressed: true }).waitFor();
      await page.getByRole('button', { name: 'Delete the recording' }).click();
      await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click();
      t.equal(await page.locator('audio').count(), 1, 'nothing is deleted without a yes');
      await page.getByRole('button', { name: 'Delete the recording' }).click();
      await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
      t.match((await requested(device, 'clip/delete'))['id'], /^[0-9a-f]{32}$/);
      await page.locator('audio').waitFor({ state: 'detached' });
    });

    await t.test(
      'the history: a threshold is dragged, says how often it would have fired, and is applied',
      async (t) => {
        await show('#/history?label=Dog');
        const line = page.getByRole('slider', { name: 'Threshold' });
        await line.waitFor();
        t.ok((await coloursOf(page, '.plot canvas')) > 3);
        t.equal(await line.getAttribute('aria-valuenow'), '0.43');
        const firings = async (): Promise<number> => {
          const told = await textOf(page, '.firings');
          return told.includes('once') ? 1 : Number(/(\d+) times/.exec(told)?.[1] ?? NaN);
        };
        const first = await firings();
        t.ok(first >= 1);
        const plot = (await page.locator('.plot').boundingBox())!;
        const box = (await line.boundingBox())!;
        const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
        await page.mouse.move(x, y);
        await page.mouse.down();
        await page.mouse.move(x, y + 0.15 * plot.height, { steps: 4 });
        await page.mouse.up();
        const dragged = Number(await line.getAttribute('aria-valuenow'));
        t.ok(dragged < 0.35 && dragged > 0.05, 'dragged down');
        t.ok((await firings()) > first, 'a lower one fires more often');
        t.match(
          await line.getAttribute('aria-valuetext'),
          /^0\.\d\d, it would have fired \d+ times in the last 24 hours$/,
        );
        await line.focus();
        await page.keyboard.press('End');
        t.equal(await line.getAttribute('aria-valuenow'), '1');
        t.equal(await firings(), 0);
        await page.keyboard.press('PageDown');
        await page.keyboard.press('ArrowDown');
        t.equal(await line.getAttribute('aria-valuenow'), '0.89');
        await picture(page, `${size}-history`);
        await page.getByRole('button', { name: 'Apply' }).click();
        t.same(await requested(device, 'threshold/set'), { value: 0.89, label: 'Dog' });
        await page.getByText('In force: 0.89 (set for this label)').waitFor();
        await page.getByRole('button', { name: 'Recommended' }).click();
        await page.getByText('In force: 0.43 (recommended by the model)').waitFor();
        await page.getByLabel(/^Time/).selectOption('7 days');
        await page.locator('.firings').filter({ hasText: 'in the last 7 days' }).waitFor();
        await page.getByLabel('Label', { exact: true }).fill('Speech');
        await page.keyboard.press('Enter');
        await page.getByRole('heading', { name: 'Speech', exact: true }).waitFor();
        t.ok((await overhang(page)) <= 0);
      },
    );

    await t.test('the device: pause, rate, thresholds', async (t) => {
      await show('#/device');
      await page.getByRole('button', { name: 'Pause for 10 min' }).click();
      t.same(await requested(device, 'pause'), { seconds: 600 });
      await page.getByText('Listening is paused. “Device” goes on with it.').waitFor();
      await page.getByRole('button', { name: 'Listen again' }).click();
      await requested(device, 'resume');
      await page.getByRole('button', { name: 'Pause', exact: true }).waitFor();
      await page.getByLabel('Looks at the sound').fill('0.5');
      await page.keyboard.press('Enter');
      t.same(await requested(device, 'rate/set'), { hz: 0.5 });
      await page.getByLabel('Readings every').fill('2');
      await page.keyboard.press('Enter');
      t.same(await requested(device, 'telemetry/set'), { interval_seconds: 2 });
      await page.getByLabel('Doorbell', { exact: true }).fill('0.66');
      await page.getByRole('button', { name: 'Save: Doorbell' }).click();
      await card(page, 'Thresholds').getByText('set for this label').waitFor();
      t.same(await requested(device, 'threshold/set'), { value: 0.66, label: 'Doorbell' });
      await page.getByRole('button', { name: 'Recommended: Doorbell' }).click();
      await card(page, 'Thresholds').getByText('set for this label').waitFor({ state: 'detached' });
      await page.getByLabel('All labels', { exact: true }).fill('0.5');
      await page.getByRole('button', { name: 'Save: All labels' }).click();
      await card(page, 'Thresholds').getByText('set for all').first().waitFor();
      await page.getByRole('button', { name: 'Recommended: All labels' }).click();
      await card(page, 'Thresholds').getByText('each label has its recommended one').waitFor();
      await page.getByLabel('Input').selectOption('Built-in Audio Analog Stereo');
      await card(page, 'Microphone').getByRole('button', { name: 'Save' }).click();
      t.same(await requested(device, 'audio/set'), { device: 'Built-in Audio Analog Stereo' });
      t.ok((await overhang(page)) <= 0);
      await picture(page, `${size}-device`);
    });

    await t.test('a threshold is suggested, and set only when that is wanted', async (t) => {
      await show('#/device');
      const thresholds = card(page, 'Thresholds');
      await thresholds.getByRole('button', { name: 'Suggest: Doorbell' }).click();
      const found = thresholds.getByRole('group', { name: 'Suggested threshold of Doorbell' });
      await found.getByText(/^At 0\.40 it would have started \d+ times in 1\.\d days of sound\.$/).waitFor();
      await found.getByText(/^At 0\.\d\d it would have been .*: no more than once a day\.$/).waitFor();
      await found.getByText('That is little to go by: ask again after some days.').waitFor();
      t.same(await requested(device, 'thresholds/suggest'), { label: 'Doorbell', per_day: 1, days: 7 });
      t.ok((await overhang(page)) <= 0);
      await picture(page, `${size}-suggestion`);
      const isApplied = () => device.requests.some(({ command }) => command === 'thresholds/apply');
      t.notOk(isApplied(), 'nothing is set by asking');
      await found.getByRole('button', { name: 'Leave it' }).click();
      await found.waitFor({ state: 'detached' });
      await thresholds.getByRole('button', { name: 'Suggest: Doorbell' }).click();
      const use = found.getByRole('button', { name: /^Use 0/ }).first();
      const wanted = /\d\.\d\d/.exec((await use.textContent()) ?? '')![0];
      t.notOk(isApplied());
      await use.click();
      t.same(await requested(device, 'thresholds/apply'), { label: 'Doorbell', per_day: 1, days: 7 });
      await thresholds.getByText('set for this label').waitFor();
      t.equal(Number(await page.getByLabel('Doorbell', { exact: true }).inputValue()), Number(wanted));
      await page.getByRole('button', { name: 'Recommended: Doorbell' }).click();
      await thresholds.getByText('set for this label').waitFor({ state: 'detached' });
    });

    await t.test('a sound is taught, with a word on how good it is, and forgotten', async (t) => {
      await show('#/device');
      const own = card(page, 'My own sounds');
      await own.getByLabel('What is it called?').fill('Doorbell');
      await own.getByRole('button', { name: 'Begin' }).click();
      await own.getByRole('alert').filter({ hasText: 'There is a label' }).waitFor();
      await own.getByLabel('What is it called?').fill(' Our kettle ');
      await own.getByRole('button', { name: 'Begin' }).click();
      t.same(await requested(device, 'learn/begin'), { name: 'Our kettle' });
      const kettle = own.getByRole('group', { name: 'Our kettle' });
      await kettle.getByText('0 examples · 3 more are needed').waitFor();
      t.ok(await kettle.getByRole('button', { name: 'Learn it' }).isDisabled());
      for (const said of ['1 example · 2 more are needed', '2 examples · 1 more is needed', '3 examples']) {
        await kettle.getByRole('button', { name: 'That was it' }).click();
        await kettle.getByText(said, { exact: true }).waitFor();
      }
      t.same(await requested(device, 'learn/example'), { name: 'Our kettle' });
      await picture(page, `${size}-learn`);
      await kettle.getByRole('button', { name: 'Learn it' }).click();
      await kettle.getByText('3 of 3 examples found by the others').waitFor();
      await kettle.getByText('0.2 to 2.4 false alarms a day expected').waitFor();
      t.ok((await overhang(page)) <= 0);
      await kettle.getByRole('button', { name: 'Forget' }).first().click();
      await page.getByRole('dialog').getByRole('button', { name: 'Forget' }).click();
      await kettle.waitFor({ state: 'detached' });
      t.same(await requested(device, 'learn/remove'), { name: 'Our kettle' });
    });

    await t.test('models: one is installed with progress, called off, switched to and removed', async (t) => {
      await show('#/device');
      const install = page.getByRole('button', { name: 'Install: EfficientAT mn10_as' });
      await install.click();
      await page.locator('.swap progress').waitFor();
      t.match(await textOf(page, '.swap'), /^(Downloading|Converting|Checking): mn10_as \d+ %/);
      await page.locator('.swap').getByRole('button', { name: 'Cancel' }).click();
      await page.locator('section.card').getByText('The installation was called off.').waitFor();
      await install.click();
      await page.getByLabel('At work').locator('option[value=mn10_as]').waitFor({ state: 'attached' });
      t.same(await requested(device, 'model/pull'), { id: 'mn10_as' });
      await page.getByLabel('At work').selectOption('mn10_as');
      await page.getByRole('button', { name: 'Switch' }).click();
      await page.locator('.models li').filter({ hasText: 'mn10_as' }).getByText('at work').waitFor();
      t.same(await requested(device, 'model/set'), { id: 'mn10_as' });
      await page.getByLabel('At work').selectOption('soundpost-home');
      await page.getByRole('button', { name: 'Switch' }).click();
      const row = page.locator('.models li').filter({ hasText: 'mn10_as' });
      await row.getByRole('button', { name: 'Remove' }).click();
      await page.getByRole('dialog').getByRole('button', { name: 'Remove' }).click();
      await install.waitFor();
      t.same(await requested(device, 'model/remove'), { id: 'mn10_as' });
    });

    await t.test('health: checks, readings as plots, problems and messages in words', async (t) => {
      await show('#/health');
      await page.locator('.checks li').nth(2).waitFor();
      await until(async () => (await page.locator('.plots .plot canvas').count()) === 4, 'four plots', 20);
      for (const index of [0, 1, 2, 3]) {
        const canvas = `.plots > div:nth-child(${index + 1}) canvas`;
        await until(async () => (await coloursOf(page, canvas)) > 3, `plot ${index} drawn`, 20);
      }
      t.match(await textOf(page, '.plots > div:nth-child(2) h3'), /^Temperature \d+(\.\d)? °C$/);
      device.log({
        ts: new Date().toISOString(),
        level: 'error',
        message: 'The microphone was unplugged',
        code: 'no_sound',
      });
      await page.locator('.logs li').filter({ hasText: 'The microphone was unplugged' }).waitFor();
      device.state.audio = 'offline';
      device.state.throttle = { active: true, reason: 'It is 81 °C.' };
      device.changed();
      await page.getByText('No sound arrives. Is the microphone plugged in, and not muted?').waitFor();
      await page.getByText('The rate is lowered to 0.25 per second. It is 81 °C.').waitFor();
      await page.getByRole('button', { name: 'Look again' }).click();
      await page.locator('.checks .badge.warn').waitFor();
      t.ok((await overhang(page)) <= 0);
      await picture(page, `${size}-health`);
      device.state.audio = 'online';
      device.state.throttle = { active: false, reason: null };
      device.changed();
      await page.getByText('No sound arrives.').waitFor({ state: 'detached' });
      t.match(await page.locator('.problems').textContent(), /^\d\d:\d\d:\d\d The microphone was unplugged$/);
    });

    await t.test('what is remembered is deleted, and the service restarted, only after a yes', async (t) => {
      await show('#/device');
      const history = page.getByRole('group', { name: 'History' });
      const clips = page.getByRole('group', { name: 'Recordings' });
      const yes = async (name: string): Promise<void> => {
        await page.locator('dialog[open]').getByRole('button', { name, exact: true }).click();
        await page.locator('dialog[open]').waitFor({ state: 'detached' });
      };
      const before = new Date(Date.now() - 24 * 3600 * 1000).toLocaleDateString('sv');
      await page.getByLabel('Older than').fill(before);
      await clips.getByRole('button', { name: 'Delete older ones' }).click();
      await yes('Delete');
      await page.getByText('The recordings are deleted').waitFor();
      const midnight = new Date(`${before}T00:00:00`).toISOString();
      t.same(
        device.requests.findLast(({ command }) => command === 'clip/delete')?.input,
        { before: midnight },
        'those from before that day, at once',
      );
      await history.getByRole('button', { name: 'Delete older ones' }).click();
      await yes('Delete');
      await until(
        () =>
          device.requests.some(
            ({ command, input }) => command === 'history/delete' && input['before'] === midnight,
          ),
        'the deletion of what is older',
        20,
      );
      await page.getByText('The history is deleted').waitFor();
      await clips.getByRole('button', { name: 'Delete all' }).click();
      await yes('Delete');
      await clips.getByText('0 recordings, 0 kB').waitFor();
      await history.getByRole('button', { name: 'Delete all' }).click();
      await yes('Delete');
      await until(
        () =>
          device.requests.some(({ command, input }) => command === 'history/delete' && input['all'] === true),
        'the deletion of all',
        20,
      );
      await page.getByRole('button', { name: 'Restart' }).click();
      t.equal(device.restarts, 0);
      await yes('Restart');
      await until(() => device.restarts === 1, 'the restart', 20);
    });

    // Of the installation that was called off.
    const others = faults.filter((fault) => !fault.includes('status of 422'));
    t.same(others, [], 'no error, nothing that the policy refused, no request to another host');
  });
}

t.test('without clips an event says how to switch them on', { skip }, async (t) => {
  const device = await startPageDevice(t, { clips: false });
  const { page, faults } = await openPage(await startBrowser(t), device.url);
  await page.locator('.events .event').first().click();
  await page.getByText('the device keeps none unless you switch that on').waitFor();
  t.match(await page.locator('pre').textContent(), /clips:\n {2}enabled: true/);
  t.equal(await page.locator('audio').count(), 0);
  t.same(faults, []);
});

t.test(
  'several sources have a row each, and at most three spectrograms are open at a time',
  { skip },
  async (t) => {
    const sources = ['main', 'yard', 'nursery', 'workshop', 'cellar'];
    const device = await startPageDevice(t, { sources, pastDays: 1 });
    const { page, faults } = await openPage(await startBrowser(t), device.url, {
      viewport: { width: 1280, height: 5000 },
    });
    await page.locator('.source').nth(4).waitFor();
    t.same(await page.locator('.source h2').allTextContents(), sources);
    await until(
      async () => (await page.locator('canvas[data-state=live]').count()) === 3,
      'three spectrograms',
      20,
    );
    await until(
      async () => (await page.locator('canvas[data-state=full]').count()) === 2,
      'two that wait',
      20,
    );
    t.equal(device.spectrograms, 3);
    await page.setViewportSize({ width: 1280, height: 700 });
    await page.locator('.source').nth(4).locator('canvas').scrollIntoViewIfNeeded();
    await page.locator('.source').nth(4).locator('canvas[data-state=live]').waitFor();
    t.ok(device.spectrograms <= 3);
    await page.evaluate('location.hash = "#/device"');
    await page
      .getByRole('group', { name: 'yard' })
      .getByRole('button', { name: 'Pause', exact: true })
      .click();
    t.same(await requested(device, 'pause'), { source: 'yard' });
    await page.getByText('yard: paused.').waitFor();
    t.same(faults, []);
  },
);
