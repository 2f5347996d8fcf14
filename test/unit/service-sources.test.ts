import { Writable } from 'node:stream';
import t from 'tap';
import type { AudioSource } from '../../src/audio/source.js';
import { SoundpostError } from '../../src/common/errors.js';
import { namedLogger, silentLogger } from '../../src/common/log.js';
import { createLogger } from '../../src/common/logger.js';
import { loadConfig } from '../../src/config/load.js';
import { sourcesOf, type SourceConfig } from '../../src/config/sources.js';
import type { SourceStore, StateStore } from '../../src/config/state-store.js';
import { taggingSettings } from '../../src/config/tagging-settings.js';
import { chooseSource } from '../../src/service/choose-source.js';
import { openSources } from '../../src/service/open-sources.js';
import { sourceWishes, withUsableLabels } from '../../src/service/remembered.js';
import { startSources, stopSources } from '../../src/service/start-sources.js';
import { createRecordingLog } from '../support/recording-log.js';
import { temporaryFolder } from '../support/temporary.js';

/** Groups that contradict each other. */
const TWINS = [
  { name: 'A', labels: ['Dog'] },
  { name: 'a', labels: ['Cat'] },
];

t.test('each source starts with what was set for it', (t) => {
  const list = [
    { name: 'nursery', device: 'USB', threshold: 0.3 },
    { name: 'yard', url: 'rtsp://camera/1', labels: ['Dog'] },
  ];
  const env = { SOUNDPOST_AUDIO_SOURCES: JSON.stringify(list), SOUNDPOST_TAGGING_THRESHOLD: '0.6' };
  const { config } = loadConfig({ env, flags: {} });
  const [nursery, yard] = sourcesOf(config) as [SourceConfig, SourceConfig];
  const asked: [string, unknown][] = [];
  const nothing = {
    get: (key: string, configured: unknown) => {
      asked.push([key, configured]);
      return undefined;
    },
  };
  t.same(sourceWishes(nursery, nothing), {
    paused: false,
    tagging: taggingSettings(nursery),
    audioDevice: 'USB',
  });
  t.same(Object.fromEntries(asked), {
    threshold: 0.3,
    paused: false,
    labels: [],
    thresholds: {},
    audio_device: 'USB',
  });
  t.equal(sourceWishes(yard, nothing).tagging.threshold, 0.6);
  const kept: Record<string, unknown> = {
    paused: true,
    threshold: null,
    labels: TWINS,
    audio_device: 'HDMI',
  };
  const remembering: Pick<SourceStore, 'get'> = { get: (key) => kept[key] as undefined };
  const wishes = sourceWishes(yard, remembering);
  t.match(wishes, { paused: true, tagging: { threshold: null, labels: TWINS }, audioDevice: 'HDMI' });
  const log = createRecordingLog();
  t.same(withUsableLabels(wishes, yard, log).tagging.labels, ['Dog']);
  t.match(log.lines, [{ level: 'warn', message: /chosen over MQTT for yard cannot be watched/ }]);
  t.end();
});

t.test('what a source says is what it is made with', async (t) => {
  const folder = temporaryFolder(t);
  const made = async (entry: object) => {
    const env = { SOUNDPOST_AUDIO_SOURCES: JSON.stringify([{ name: 'a', ...entry }]) };
    const { config } = loadConfig({ env, flags: {}, cwd: folder });
    return chooseSource({
      audio: sourcesOf(config)[0].audio,
      dataDir: folder,
      chunkSeconds: 0.1,
      root: folder,
      demoAllowed: true,
      log: silentLogger,
    });
  };
  // Where the broker is the embedded one, too: whoever lists a microphone wants none of the demo.
  t.equal((await made({})).kind, 'microphone');
  t.equal((await made({ url: 'rtsp://camera/1' })).kind, 'stream');
  t.equal((await made({ file: 'x.wav' })).kind, 'file');
  t.equal((await made({ source: 'stream', file: 'x.mp3' })).kind, 'stream');
  t.equal((await made({ source: 'demo' })).kind, 'demo');
});

t.test('no two sources start with one microphone', async (t) => {
  const folder = temporaryFolder(t);
  const list = [
    { name: 'a', device: 'desk' },
    { name: 'b', device: 'Hall' },
    { name: 'c', device: 'room' },
    { name: 'd', file: 'x.wav' },
  ];
  const { config } = loadConfig({
    env: { SOUNDPOST_AUDIO_SOURCES: JSON.stringify(list), SOUNDPOST_DATA_DIR: folder },
    flags: {},
    cwd: folder,
  });
  const startWith = async (chosen: Readonly<Record<string, string>>) => {
    const log = createRecordingLog();
    const sources = await openSources({
      config,
      store: {
        of: (name: string | null) => ({
          get: (key: string) => (key === 'audio_device' ? chosen[name!] : undefined),
        }),
      } as unknown as StateStore,
      isSafeMode: false,
      rateHz: 1,
      root: folder,
      demoAllowed: false,
      log,
    });
    const losers = log.lines.filter(({ level }) => level === 'warn').map(({ message }) => message);
    return { devices: sources.slice(0, 3).map(({ wishes }) => wishes.audioDevice), losers };
  };
  const { devices, losers } = await startWith({ a: 'attic' });
  t.same([devices, losers], [['attic', 'Hall', 'room'], []]);
  t.same((await startWith({ a: 'Hall', b: 'desk' })).devices, ['Hall', 'desk', 'room'], 'changed places');
  // The configuration has since given it to another one, which stands behind the one that chose it.
  const given = await startWith({ a: 'hall' });
  t.same(given.devices, ['desk', 'Hall', 'room']);
  t.match(given.losers, [/"hall" that was chosen over MQTT for a is that of another source now.*"desk"/]);
  // One that has to go back takes away what another has chosen meanwhile.
  const row = await startWith({ a: 'hall', c: 'desk' });
  t.same(row.devices, ['desk', 'Hall', 'room']);
  t.equal(row.losers.length, 2);
  t.same((await startWith({ a: 'attic', c: 'Attic' })).devices, ['attic', 'Hall', 'room']);
});

t.test('a source that cannot begin takes no others along', async (t) => {
  const missing = new SoundpostError('file_unreadable', 'yard.wav does not exist');
  const source = (name: string, error?: Error) => {
    const failures: unknown[] = [];
    return {
      name,
      failures,
      start: () => (error === undefined ? Promise.resolve() : Promise.reject(error)),
      fail: (reason: unknown) => void failures.push(reason),
    };
  };
  const goOn = { goOn: () => undefined };
  const log = createRecordingLog();
  const [yard, hall] = [source('yard', missing), source('hall')];
  await startSources([yard, hall], goOn, log);
  t.same([yard.failures, hall.failures], [[missing], []]);
  t.match(log.lines, [
    { level: 'error', message: /^The source yard is not heard .*yard\.wav does not exist$/ },
  ]);

  const silent = createRecordingLog();
  await t.rejects(startSources([yard], goOn, silent), missing, 'the only one');
  await t.rejects(startSources([yard, source('attic', missing)], goOn, silent), missing, 'all');
  const calledOff = new SoundpostError('aborted', 'The start was called off');
  const life = {
    goOn() {
      throw calledOff;
    },
  };
  await t.rejects(startSources([yard, hall], life, silent), calledOff, 'whoever stops it hears no complaint');
  t.same(silent.lines, []);
});

t.test('sources are stopped all, whatever one of them says', async (t) => {
  const stopped: string[] = [];
  const source = (name: string, error?: Error) => ({
    audio: {
      async stop() {
        await Promise.resolve();
        if (error !== undefined) throw error;
        await new Promise((resolve) => setImmediate(resolve));
        stopped.push(name);
      },
    } as unknown as AudioSource,
  });
  const odd = new Error('odd');
  await t.rejects(stopSources([source('yard', odd), source('hall')]), odd);
  t.same(stopped, ['hall']);
});

t.test('what two sources say in the same words are two messages', (t) => {
  const problems: string[] = [];
  const stream = new Writable({ write: (_, __, done) => done() });
  const log = createLogger({
    level: 'info',
    format: 'json',
    stream,
    onProblem: ({ code, message }) => problems.push(`${code}, ${message}`),
  });
  for (const name of ['yard', 'door', 'yard']) {
    namedLogger(log, name).warn({ code: 'stream_stalled' }, 'No sound from the stream');
  }
  t.same(problems, [
    'stream_stalled, yard: No sound from the stream',
    'stream_stalled, door: No sound from the stream',
  ]);
  t.end();
});
