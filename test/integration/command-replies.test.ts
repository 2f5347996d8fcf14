import { readFileSync } from 'node:fs';
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { ErrorCode } from '../../src/common/error-codes.js';
import { commandSpecs, type CommandData, type CommandName } from '../../src/mqtt/command-specs.js';
import {
  epochMs,
  isoTime,
  type EventPayload,
  type InfoPayload,
  type StatePayload,
  type TelemetryPayload,
} from '../../src/mqtt/contract.js';
import { replyExamples } from '../../tools/docs/mqtt/examples.js';
import { startMosquitto } from '../support/broker.js';
import { startFileServer } from '../support/file-server.js';
import { PACED_TOOLS, skipWithoutMicrophone, startPacedMicrophone } from '../support/microphone.js';
import type { Console, Reply } from '../support/service.js';
import { makeDataDir } from '../support/service.js';
import { breaches, looped, sound, start, stopsCleanly } from '../support/service-rig.js';
import { installToneModel, tone, WAVEFORM_RATE } from '../support/tone-models.js';

/** A request of a command, and what its reply has to say at least. */
interface Case {
  request?: object;
  /** Left out where it has to be refused. */
  reply?: object;
  error?: ErrorCode;
  /** For commands with a plain topic: its text, and what the reply has to say then. */
  plain?: [text: string, reply: object];
}

/** The reply is `ok`, and its data is what the table promises: nothing else, nothing less. */
function keepsItsWord(t: Test, name: CommandName, reply: Reply): void {
  if (!t.equal(reply.status, 'ok', `${name}: ${reply.error?.message ?? 'ok'}`)) return;
  t.strictSame(commandSpecs[name].result.parse(reply.data), reply.data, `${name}: the data is as promised`);
}

const clipIds = ['0'.repeat(32), '1'.repeat(32)];

/** A clip as an earlier life has left it. */
async function writeClip(dataDir: string, id: string): Promise<void> {
  const folder = join(dataDir, 'clips', '2026-05-10');
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, `${id}.flac`), 'sound');
  const times = { clip_started_at: '2026-05-10T12:00:00.000Z', clip_ended_at: '2026-05-10T12:00:06.280Z' };
  await writeFile(join(folder, `${id}.json`), JSON.stringify({ ...replyExamples.clip, ...times, id }));
}

const pcm = (samples: Float32Array) => Int16Array.from(samples, (sample) => Math.round(sample * 32_767));
const stateOf = (console: Console) => console.all<StatePayload>('state').at(-1);

t.test(
  'every command, its reply, and what outlives a restart',
  { skip: skipWithoutMicrophone('mosquitto', ...PACED_TOOLS) },
  async (t) => {
    const broker = await startMosquitto();
    t.teardown(() => broker.stop());
    const microphone = await startPacedMicrophone(
      { samples: pcm(tone(500, 2, 48_000, 0.2)), sampleRate: 48_000, channels: 1 },
      ['default', 'attic'],
    );
    t.teardown(() => microphone.stop());
    const server = await startFileServer(t);
    const made = await installToneModel(await makeDataDir(t), 'waveform', { id: 'fetched' });
    server.files.set('/tones.onnx', readFileSync(made.onnxPath));
    const { onnx_sha256: sha256, ...manifest } = made.manifest;
    const began = await start(
      t,
      broker.url,
      {
        AUDIO_SOURCE: 'microphone',
        TAGGING_LABELS: '["Tone 0"]',
        MODELS_ALLOWED_HOSTS: '["127.0.0.1"]',
        MODELS_REMOTE_PULL: 'any',
      },
      async (dataDir) => {
        await installToneModel(dataDir, 'log_mel');
        for (const id of clipIds) await writeClip(dataDir, id);
      },
      microphone.env,
    );
    const { console, dataDir } = began;
    await console.word('audio/status', (text) => text === 'online');
    const event = await console.on<EventPayload>('event');

    const cases: Record<CommandName, Case> = {
      'model/list': { reply: { broken: [], installed: [{ bundled: true }, {}, {}] } },
      'model/pull': {
        request: {
          url: `${server.url}/tones.onnx`,
          sha256,
          manifest: { ...manifest, labels: undefined },
          labels: made.labelNames,
        },
        reply: { model: 'fetched', installed: true },
      },
      'model/set': {
        request: { id: 'fetched' },
        reply: { model: 'fetched' },
        plain: ['tone-logmel', { model: 'tone-logmel' }],
      },
      'model/cancel': { reply: { cancelled: false, model: null } },
      'model/remove': { request: { id: 'fetched' }, reply: { model: 'fetched', removed: true } },
      'rate/set': { request: { hz: 4 }, reply: { rate_hz: 4 }, plain: ['2', { rate_hz: 2 }] },
      'threshold/set': {
        request: { value: 0.3, label: 'tone 1' },
        reply: { threshold: 0.3, label: 'Tone 1' },
        plain: ['0.4', { threshold: 0.4 }],
      },
      'labels/set': {
        request: { labels: ['tone 2', { name: 'Low', labels: ['Tone 0', 'Tune 1'], threshold: 0.2 }] },
        reply: {
          labels: [
            { name: 'Tone 2', slug: 'tone_2', group: false },
            { name: 'Low', slug: 'low', group: true },
          ],
          unknown: [{ name: 'Tune 1', suggestions: ['Tone 1'] }],
        },
      },
      'telemetry/set': {
        request: { interval_seconds: 3000 },
        reply: { interval_seconds: 3000 },
        plain: ['1', { interval_seconds: 1 }],
      },
      'audio/list': { reply: { source: 'microphone', device: null } },
      'audio/set': {
        request: { device: null },
        reply: { device: null },
        plain: ['ATTIC', { device: 'ATTIC', name: 'attic' }],
      },
      info: { reply: { device: { id: began.id } } },
      health: { reply: { checks: [{ name: 'broker' }, { name: 'audio' }, { name: 'inference' }] } },
      pause: { request: { seconds: 3600 }, reply: { paused: true, seconds: 3600 } },
      resume: { reply: { paused: false } },
      'paused/set': { request: { paused: false }, reply: { paused: false }, plain: ['ON', { paused: true }] },
      history: {
        request: { since: event.started_at, until: isoTime(epochMs(event.started_at) + 1) },
        reply: { events: [{ id: event.id }], cursor: null },
      },
      'history/scores': { request: { label: 'Tone 0' }, reply: { step_seconds: 180 } },
      'event/judge': {
        request: { id: event.id, right: true },
        reply: { id: event.id, label: 'Tone 0', right: true },
      },
      'thresholds/suggest': {
        request: { label: 'tone 2' },
        reply: { per_day: 1, days: 7, suggestions: [{ label: 'Tone 2' }] },
      },
      'thresholds/apply': { request: { label: 'Tone 2' }, reply: {} },
      'history/delete': { request: { all: true }, reply: { deleted: true } },
      // The model that tells tones cannot be taught; one that can is in long/service-learning.test.ts.
      'learn/begin': { request: { name: 'Bell' }, error: 'no_embedding' },
      'learn/example': { request: { name: 'Bell' }, error: 'no_embedding' },
      'learn/finish': { request: { name: 'Bell' }, error: 'no_embedding' },
      'learn/list': { reply: { can_learn: false, learnt: [], begun: [] } },
      'learn/remove': { request: { name: 'Bell' }, error: 'learn_unknown' },
      clip: {
        request: { id: clipIds[0] },
        reply: {
          id: clipIds[0],
          url: null,
          path: join(dataDir, 'clips', '2026-05-10', `${clipIds[0]}.flac`),
        },
      },
      'clip/list': { reply: { total: 2, clips: [{}, {}], cursor: null } },
      'clip/delete': { request: { id: clipIds[1] }, reply: { deleted: 1 } },
      restart: { reply: { restarting: true } },
    };
    t.same(Object.keys(cases).sort(), Object.keys(commandSpecs).sort(), 'no command without a case');

    // A stale one: it must end nothing, neither now nor after any later start.
    await console.publish(`${console.base}/request/restart`, '{"transaction":"stale"}', { retain: true });
    t.match(await console.on('response/restart'), { error: { code: 'retained' }, transaction: 'stale' });

    const { restart, ...others } = cases;
    for (const [name, { request, reply, error, plain }] of Object.entries(others) as [CommandName, Case][]) {
      const answer = await console.request(name, request);
      if (error !== undefined) {
        t.match(answer, { status: 'error', error: { code: error } }, name);
        continue;
      }
      keepsItsWord(t, name, answer);
      t.match(answer.data, reply!, name);
      t.equal(plain !== undefined, 'parseSet' in commandSpecs[name], `${name}: a plain topic has a case`);
      if (plain === undefined) continue;
      const [text, said] = plain;
      const answerToPlain = await console.set(name, text);
      keepsItsWord(t, name, answerToPlain);
      t.match(answerToPlain.data, said, `${name} ${text}`);
    }
    const inputs = (await console.request('audio/list')).data as CommandData<'audio/list'>;
    t.same(inputs.devices.map(({ name }) => name).sort(), ['attic', 'default']);
    const wished = {
      model: 'tone-logmel',
      rate_hz: 2,
      threshold: 0.4,
      labels: ['tone 2', 'Low'],
      source: 'microphone',
      audio_device: 'ATTIC',
      telemetry_interval_seconds: 1,
      paused: true,
    };
    t.match(stateOf(console), wished);

    const answer = await console.request('restart');
    keepsItsWord(t, 'restart', answer);
    t.match(answer.data, restart.reply!);
    t.equal(await began.service.exited, 1, 'who started it has to start it again');
    await console.word('status', (text) => text === 'offline');
    const order = console.messages.map(({ topic }) => topic.slice(console.base.length + 1));
    t.ok(order.lastIndexOf('response/restart') < order.lastIndexOf('status'), 'the reply comes first');

    /** What the broker still has of the last life must not be taken for the next one's. */
    const forget = () => console.publish(`${console.base}/state`, '', { retain: true });
    await forget();
    const again = await began.again();
    await again.console.on('state', ({ model }: StatePayload) => model === 'tone-logmel');
    t.match(stateOf(again.console), wished, 'nothing is forgotten');
    t.match(await again.console.on('response/restart'), { error: { code: 'retained' } });
    t.match(await again.console.request('audio/list'), { data: { device: 'ATTIC' } });
    const telemetry = await again.console.on<TelemetryPayload>('telemetry');
    t.equal(telemetry.interval_seconds, 1);
    await stopsCleanly(t, again);

    await forget();
    const changed = await began.again({ TAGGING_LABELS: '["Tone 1"]', TELEMETRY_INTERVAL_SECONDS: '7' });
    await changed.console.on('state', ({ model }: StatePayload) => model === 'tone-logmel');
    t.match(
      stateOf(changed.console),
      { ...wished, labels: ['Tone 1'], telemetry_interval_seconds: 7 },
      'a changed configuration is the newer wish',
    );
    await stopsCleanly(t, changed);
  },
);

t.test('commands on a recording', async (t) => {
  const started = await start(
    t,
    null,
    { ...looped, INFERENCE_RATE_HZ: '10', TAGGING_LABELS: '["Tone 0"]', TAGGING_MIN_GAP_SECONDS: '600' },
    sound(tone(500, 4, WAVEFORM_RATE, 0.5)),
  );
  const { console, dataDir } = started;

  await t.test('labels that are no longer watched end OFF', async (t) => {
    await console.word('label/tone_0', (text) => text === 'ON');
    const reply = await console.request('labels/set', { labels: [{ name: 'Deep', labels: ['Tone 0'] }] });
    keepsItsWord(t, 'labels/set', reply);
    t.equal(console.texts('label/tone_0').at(-1), 'OFF', 'before the reply');
    await console.word('label/deep', (text) => text === 'ON');
    await console.on<EventPayload>('event', ({ group }) => group === 'Deep');
    t.same(stateOf(console)?.labels, ['Deep']);
  });

  await t.test('what cannot be is refused, and nothing changes', async (t) => {
    const before = stateOf(console);
    const refusals: [command: string, request: object, code: string, message: RegExp][] = [
      ['labels/set', { labels: ['Tome 1', 'x'] }, 'label_unknown', /"Tome 1" \(did you mean "Tone 1".*"x"/],
      ['labels/set', { labels: 'Tone 1' }, 'invalid_request', /^labels: /],
      ['labels/set', { labels: [''] }, 'invalid_request', /labels\.0/],
      ['labels/set', { labels: [{ name: 'A', labels: [] }] }, 'invalid_request', /labels\.0/],
      [
        'labels/set',
        { labels: ['a', 'A'].map((name) => ({ name, labels: ['Tone 1'] })) },
        'invalid_tagging',
        /Two groups/,
      ],
      ['telemetry/set', { interval_seconds: 0.5 }, 'invalid_request', /at least 1 s/],
      ['telemetry/set', {}, 'invalid_request', /interval_seconds/],
      ['audio/set', { device: 'default' }, 'not_a_microphone', /comes from a file.*audio\.source/],
      ['audio/set', {}, 'invalid_request', /device/],
      ['restart', { now: true }, 'invalid_request', /now/],
    ];
    for (const [command, request, code, message] of refusals) {
      t.match(await console.request(command, request), { status: 'error', error: { code, message } });
    }
    t.same(stateOf(console), before);
    t.equal(console.texts('label/deep').at(-1), 'ON', 'and the sound goes on');
  });

  await t.test('no list is every label', async (t) => {
    const reply = await console.request('labels/set', { labels: [] });
    t.same(reply.data, { labels: [], unknown: [] });
    await console.word('label/deep', (text) => text === 'OFF');
    await console.word('label/tone_0', (text) => text === 'ON');
  });

  await t.test('a model that somebody else installs or removes is seen', async (t) => {
    const ids = ({ models }: InfoPayload) => models.installed.map(({ id }) => id);
    const elsewhere = await makeDataDir(t);
    const made = await installToneModel(elsewhere, 'log_mel');
    const folder = join(dataDir, 'models', made.id);
    await rename(made.folder, folder);
    await console.on<InfoPayload>('info', (info) => ids(info).includes(made.id));
    await rm(folder, { recursive: true });
    await console.on<InfoPayload>('info', (info) => !ids(info).includes(made.id));
  });

  await t.test('telemetry follows its interval at once', async (t) => {
    const before = console.all('telemetry').length;
    await console.set('telemetry/set', '86400');
    await console.on<TelemetryPayload>('telemetry', ({ interval_seconds: s }) => s === 86_400);
    t.equal(console.all('telemetry').length, before + 1);
  });

  t.strictSame(breaches(console), []);
  await stopsCleanly(t, started);
});
