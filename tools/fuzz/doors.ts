import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import fc from 'fast-check';
import { parseCaptureMessage } from '../../src/audio/capture/messages.js';
import { createSampleReader } from '../../src/audio/capture/samples.js';
import { createLevelMeter } from '../../src/audio/level.js';
import { openWav } from '../../src/audio/wav.js';
import { parseWavHeader } from '../../src/audio/wav-header.js';
import { SoundpostError } from '../../src/common/errors.js';
import { createHealthFile, readHealth } from '../../src/service/health-file.js';
import { silentLogger } from '../../src/common/log.js';
import { projectRoot } from '../../src/common/project.js';
import { rateHz } from '../../src/common/rules.js';
import { loadConfigAnyway, loadConfig } from '../../src/config/load.js';
import { environmentName, keys } from '../../src/config/schema.js';
import { openStateStore } from '../../src/config/state-store.js';
import { readYaml } from '../../src/config/yaml-layer.js';
import { openCheckpoint } from '../../src/convert/checkpoint/open.js';
import { declaredMemory } from '../../src/inference/declared-memory.js';
import { readCatalogue } from '../../src/models/catalogue.js';
import { readLabelNames, readLabelSet, readThresholds } from '../../src/models/labels.js';
import { parseManifest } from '../../src/models/manifest.js';
import { commandTable } from '../../src/mqtt/command-table.js';
import { createCommandRouter } from '../../src/mqtt/commands.js';
import { contract } from '../../src/mqtt/contract.js';
import type { Reply } from '../../src/mqtt/link.js';
import { parseEvent } from '../../src/mqtt/outbox-store.js';
import { createTopics } from '../../src/mqtt/topics.js';
import { openDiscoveryMemory } from '../../src/home-assistant/discovery-memory.js';
import { openLabelMemory } from '../../src/service/label-memory.js';
import { badNetwork } from '../../test/support/bad-models.js';
import { float32Bytes, pickle, safetensors, tensor, torchZip } from '../../test/support/checkpoint-files.js';
import { knock } from '../../test/support/command-fuzz.js';
import { endWith, eventWith } from '../../test/support/events.js';
import { createRecordingControl } from '../../test/support/recording-control.js';
import { makeWav } from '../../test/support/wav.js';
import { yamlSigns } from '../../test/support/yaml-signs.js';
import { changedBytes, changedJson, textOf } from './inputs.js';

/*
 * Every place where something comes in from outside. What may happen at a door: it takes the input, or refuses it with
 * an error for people. Anything else that is thrown is a mistake; so is a result that contradicts the input.
 */

export interface Door {
  /**
   * Puts inputs in, each within `around`; resolves with what was found and the smallest input that shows it, or with
   * null.
   */
  check(
    around: (enter: () => Promise<void>) => Promise<void>,
    parameters: { numRuns: number; seed: number },
  ): Promise<string | null>;
}

/** Runs `step`; an error for people with one of these codes is an answer. */
async function refusing(codes: readonly string[], step: () => unknown): Promise<void> {
  try {
    await step();
  } catch (error) {
    if (!(error instanceof SoundpostError) || !codes.includes(error.code)) throw error;
  }
}

function must(fits: boolean, what: string): void {
  if (!fits) throw new Error(what);
}

/** `enter` puts one input in; it throws where the door does anything that it must not. */
const door = <Input>(input: fc.Arbitrary<Input>, enter: (input: Input) => Promise<void> | void): Door => ({
  async check(around, parameters) {
    const property = fc.asyncProperty(input, (one) => around(async () => enter(one)));
    const details = await fc.check(property, parameters);
    if (!details.failed) return null;
    const { errorInstance: error } = details;
    const report = (await fc.asyncDefaultReportMessage(details)) ?? 'it failed';
    return `${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n${report}`;
  },
});

const readJson = (...path: string[]): unknown =>
  JSON.parse(readFileSync(join(projectRoot(), ...path), 'utf8'));

function topicDoor(): Door {
  const part = textOf([
    'soundpost',
    '/',
    'x',
    '+',
    '#',
    '$',
    'set',
    'request',
    'response',
    'label',
    'model',
    'source',
    'yard',
    ' ',
  ]);
  return door(
    fc.tuple(part, fc.oneof(fc.constantFrom('attic', 'a-1'), part), part),
    async ([base, id, path]) => {
      await refusing(['invalid_topic'], () =>
        createTopics(base, id, { birthTopic: path === '' ? undefined : path }),
      );
      const topics = createTopics('soundpost', 'attic', { sources: path.length % 3 === 0 ? ['yard'] : [] });
      const topic = path.length % 2 === 0 ? path : `${topics.base}/${path}`;
      const command = topics.commandOf(topic);
      must(command === null || topic.startsWith(`${topics.base}/`), 'a command from a foreign topic');
      const may = topics.mayRespondTo(topic);
      must(!may || !/[+#\0]/.test(topic), 'a reply to a pattern');
      must(!may || topics.commandOf(topic) === null, 'a reply that is a command');
    },
  );
}

function commandDoor(): Door {
  const topics = createTopics('soundpost', 'attic', { sources: ['yard', 'nursery'] });
  const replies: Reply[] = [];
  return door(knock, async ({ path, ...message }) => {
    // A router of its own each time: nothing may wait from the last input.
    const router = createCommandRouter({
      commands: commandTable(createRecordingControl()),
      topics,
      log: silentLogger,
      reply: (reply) => void replies.push(reply),
    });
    replies.length = 0;
    const topic = `${topics.base}/${path}`;
    router.handle({ topic, ...message });
    for (let turns = 0; turns < 50 && replies.length === 0 && topics.commandOf(topic) !== null; turns += 1) {
      await turn();
    }
    const wanted = topics.commandOf(topic) === null ? 0 : 1;
    must(replies.length === wanted, `${replies.length} replies in place of ${wanted}`);
    for (const { payload } of replies) {
      must(
        contract.response.schema.safeParse(payload).success,
        `a reply against the contract: ${JSON.stringify(payload)}`,
      );
      must(
        payload.status === 'ok' || payload.error.code !== 'internal',
        `broke inside: ${JSON.stringify(payload)}`,
      );
    }
    await router.stop();
  });
}

function yamlDoor(): Door {
  const good = ['kitchen.yaml', 'default.yaml'].flatMap((name) => {
    try {
      return [readFileSync(join(projectRoot(), 'config', name))];
    } catch {
      return [];
    }
  });
  good.push(
    Buffer.from(
      'mqtt:\n  url: mqtt://127.0.0.1\naudio: {source: file, loop: true}\ntagging:\n  labels: [Dog, {name: A, labels: [B]}]\n',
    ),
  );
  const sections = [...new Set([...keys.keys()].flatMap((key) => key.split('.')))];
  const text = fc.oneof(
    { weight: 8, arbitrary: changedBytes(good).map((bytes) => bytes.toString()) },
    { weight: 8, arbitrary: textOf([...sections, ...yamlSigns]) },
    // Each costs the parser a tenth of a second.
    { weight: 1, arbitrary: fc.nat(1500).map((depth) => '{a: '.repeat(depth)) },
  );
  return door(text, (source) => {
    const layer = readYaml(source, 'fuzzed.yaml');
    must(
      layer.problems.every(({ message }) => message.includes('fuzzed.yaml')),
      'a problem without its file',
    );
    must(layer.problems.length <= 200, `${layer.problems.length} problems`);
  });
}

function environmentDoor(): Door {
  const values = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 60 }),
    fc.json(),
    changedJson([
      [
        { name: 'yard', url: 'rtsp://me:hush@camera/1', labels: ['Dog'], loud: { above_background_db: 20 } },
        { name: 'nursery', device: 'USB', threshold: 0.3, gain_db: 6 },
      ],
    ]),
    textOf([
      'mqtt://',
      'rtsp://',
      'user',
      ':',
      '@',
      '#',
      '?',
      '/',
      '127.0.0.1',
      '[',
      ']',
      '%',
      '-1',
      '1e9',
      'true',
    ]),
  );
  const names = [...keys.keys(), 'audio.sources', 'audio.sources'].map(environmentName);
  const pair = fc.tuple(fc.constantFrom(...names), values);
  const sources = { root: projectRoot(), cwd: '/nonexistent', hostname: 'fuzzed', flags: {} };
  return door(fc.array(pair, { minLength: 1, maxLength: 4 }), async (pairs) => {
    const env = Object.fromEntries(pairs);
    await refusing(['config'], () => loadConfig({ ...sources, env }));
    // With `--keep-going` there is nothing that keeps it from starting.
    loadConfigAnyway({ ...sources, env });
  });
}

function manifestDoor(): Door {
  return door(changedJson([readJson('models', 'soundpost-home', 'model.json')]), (text) =>
    refusing(['model_manifest'], () => parseManifest(text, 'model.json')),
  );
}

function fileDoor<Input extends string | Buffer>(
  folder: string,
  name: string,
  input: fc.Arbitrary<Input>,
  read: (path: string) => unknown,
  codes: readonly string[],
): Door {
  const path = join(folder, name);
  return door(input, async (content) => {
    writeFileSync(path, content);
    await refusing(codes, () => read(path));
  });
}

const labelList = (count: number) =>
  Array.from({ length: count }, (_, index) => ({
    index,
    name: `Sound ${index}`,
    mid: index % 2 === 0 ? `/m/${index}` : null,
  }));

function labelsDoor(folder: string): Door {
  const good = [labelList(5), { labels: labelList(4), default_threshold: 0.4 }, ['Dog', 'Cat', 'Car']];
  const input = fc.oneof(changedJson(good), textOf(['Dog', 'Cat', '\n', ',', ' ', '\uFEFF', '[', '"']));
  return fileDoor(
    folder,
    'labels.json',
    input,
    async (path) => {
      const labels = await readLabelNames(path);
      must(
        labels.every(({ index }, position) => index === position),
        'labels out of order',
      );
    },
    ['model_labels'],
  );
}

function thresholdsDoor(folder: string): Door {
  const thresholds = Array.from({ length: 5 }, (_, index) => ({ index, threshold: 0.1 * index }));
  const withNames = {
    default_threshold: 0.3,
    labels: labelList(5).map((label) => ({ ...label, threshold: 0.5 })),
  };
  return fileDoor(
    folder,
    'thresholds.json',
    changedJson([thresholds, { labels: thresholds, default_threshold: 0.2 }, withNames]),
    async (path) => {
      await refusing(['model_labels'], () => readLabelSet(path));
      const { own, rest } = await readThresholds(path, 5);
      const right = (value: number) => value >= 0 && value <= 1;
      must([...own.values(), ...(rest === null ? [] : [rest])].every(right), 'a threshold outside of 0 to 1');
    },
    ['model_labels'],
  );
}

function catalogueDoor(folder: string): Door {
  const whole = readJson('models', 'catalogue.json') as { models: unknown[] };
  const few = [0, 40, 80].map((at) => ({ ...whole, models: whole.models.slice(at, at + 3) }));
  return fileDoor(folder, 'catalogue.json', changedJson(few), () => readCatalogue(folder), ['catalogue']);
}

function wavDoor(folder: string): Door {
  const samples = Array.from({ length: 300 }, (_, index) => Math.sin(index / 7) / 2);
  const good = [
    makeWav({ encoding: 's16', sampleRate: 16_000, channels: [samples] }),
    makeWav({ encoding: 'f32', sampleRate: 48_000, channels: [samples, samples], extensible: true }),
    makeWav({ encoding: 's24', sampleRate: 44_100, channels: [samples], rf64: true }),
    makeWav({
      encoding: 'u8',
      sampleRate: 8000,
      channels: [samples],
      chunksBefore: [['LIST', Buffer.alloc(31)]],
    }),
  ];
  const codes = ['not_wav', 'wav_damaged', 'wav_unsupported', 'audio_empty', 'file_unreadable'];
  const into = new Float32Array(4096);
  return fileDoor(
    folder,
    'sound.wav',
    changedBytes(good),
    async (path) => {
      const bytes = readFileSync(path);
      await refusing(codes, () =>
        parseWavHeader(
          {
            size: bytes.length,
            read: (target, offset) => Promise.resolve(bytes.copy(target, 0, Math.min(offset, bytes.length))),
          },
          'sound.wav',
        ),
      );
      const wav = await openWav(path);
      try {
        let frames = 0;
        for (let read = await wav.read(into); read > 0; read = await wav.read(into)) frames += read;
        must(frames <= bytes.length, `${frames} frames in ${bytes.length} bytes`);
      } finally {
        await wav.close();
      }
    },
    codes,
  );
}

function captureDoor(): Door {
  const device = {
    index: 0,
    name: 'USB',
    hostApi: 'ALSA',
    channels: 1,
    defaultSampleRate: 48_000,
    isDefault: true,
  };
  const messages = [
    { type: 'opened', device, sampleRate: 48_000, channels: 1 },
    { type: 'devices', devices: [device] },
    { type: 'failed', code: 'x', message: 'y' },
  ];
  const message = changedJson(messages).map((text): unknown => {
    try {
      return JSON.parse(text);
    } catch {
      return text;
    }
  });
  return door(
    fc.tuple(fc.array(fc.uint8Array({ maxLength: 90 }), { maxLength: 12 }), message),
    ([chunks, said]) => {
      const meter = createLevelMeter();
      let samples = 0;
      const read = createSampleReader((got) => {
        samples += got.length;
        meter.add(got);
      });
      for (const chunk of chunks) read(chunk);
      const bytes = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
      must(samples === Math.floor(bytes / 4), `${samples} samples of ${bytes} bytes`);
      parseCaptureMessage(said);
    },
  );
}

function stateDoor(folder: string): Door {
  const good = {
    version: 1,
    values: {
      model: { value: 'mn04_as', configured: 'soundpost-home' },
      rate_hz: { value: 2, configured: 1 },
      labels: { value: ['Dog', { name: 'A', labels: ['B'] }], configured: [] },
      thresholds: { value: { Dog: 0.4 }, configured: {} },
      paused: { value: true, configured: false },
    },
    sources: { yard: { threshold: { value: 0.4, configured: null } } },
  };
  return fileDoor(
    folder,
    'state.json',
    changedJson([good]),
    async () => {
      // As a second program reads it, which moves nothing aside: the folder would fill.
      const store = await openStateStore({ dataDir: folder, log: silentLogger, isReadOnly: true });
      const rate = store.get('rate_hz', 1);
      store.of('yard').get('threshold', null);
      must(rate === undefined || rateHz.safeParse(rate).success, `a rate of ${rate}`);
    },
    [],
  );
}

function outboxDoor(): Door {
  const started = eventWith({ id: 'a-1' });
  return door(changedJson([started, endWith(started, 2)]), (text) => {
    const event = parseEvent(text);
    must(
      event === null || (event.id !== '' && ['started', 'ended'].includes(event.event_type)),
      'an event that is none',
    );
  });
}

/** The small files that the service leaves for its next start and for other programs. */
async function memoryDoor(folder: string): Promise<Door> {
  await createHealthFile({ dataDir: folder }).write({
    healthy: true,
    checks: [{ name: 'a', ok: true, detail: 'b' }],
  });
  const health: unknown = JSON.parse(readFileSync(join(folder, 'run', 'health.json'), 'utf8'));
  const topics = { 'homeassistant/device/soundpost_a/config': { x: 'sensor' } };
  return door(changedJson([health, ['dog', 'yard/cat'], topics]), async (text) => {
    writeFileSync(join(folder, 'run', 'health.json'), text);
    writeFileSync(join(folder, 'labels.json'), text);
    writeFileSync(join(folder, 'homeassistant.json'), text);
    await readHealth(folder, Date.now());
    const memory = openLabelMemory({ dataDir: folder, log: silentLogger });
    for (const source of memory.sources()) {
      must(source === null || /^[a-z0-9_-]+$/.test(source), 'a source that is none');
      must(
        memory
          .of(source)
          .slugs()
          .every((slug) => /^[a-z0-9_]+$/.test(slug)),
        'a slug that is none',
      );
    }
    openDiscoveryMemory({ dataDir: folder, log: silentLogger }).topics();
  });
}

function checkpointDoor(folder: string): Door {
  const weights = pickle.whole(
    pickle.dict([['w', tensor({ elements: 6, offset: 1, shape: [2, 2], strides: [3, 1] })]]),
  );
  const floats = float32Bytes([1, 2, 3, 4, 5, 6]);
  const good = [
    torchZip(weights, { '0': floats }),
    safetensors({ w: { dtype: 'F32', shape: [2, 3], data_offsets: [0, 24] } }, floats),
    readFileSync(join(projectRoot(), 'test', 'golden', 'checkpoint-formats', 'plain_legacy.pth')),
  ];
  return fileDoor(
    folder,
    'weights.pt',
    changedBytes(good),
    async (path) => {
      const checkpoint = await openCheckpoint(path);
      try {
        for (const { name, elements } of checkpoint.tensors.values()) {
          must((await checkpoint.read(name)).length === elements, `${name} has another length`);
        }
      } finally {
        await checkpoint.close();
      }
    },
    ['checkpoint_unreadable', 'checkpoint_forbidden', 'checkpoint_too_large'],
  );
}

/** Networks are opened by ONNX Runtime in a process of its own; what is read of them here is how much they want. */
function networkDoor(folder: string): Door {
  const good = (['memory-declared', 'memory-at-once', 'hang-at-once'] as const).map((kind) =>
    badNetwork(kind),
  );
  return fileDoor(
    folder,
    'model.onnx',
    changedBytes(good),
    (path) => {
      for (const bytes of Object.values(declaredMemory(path) ?? {})) must(bytes >= 0, `${bytes} bytes`);
    },
    [],
  );
}

/** Every door; those that read files get them in a folder of their own. */
export const doors = {
  topics: topicDoor,
  commands: commandDoor,
  yaml: yamlDoor,
  environment: environmentDoor,
  manifest: manifestDoor,
  labels: labelsDoor,
  thresholds: thresholdsDoor,
  catalogue: catalogueDoor,
  wav: wavDoor,
  capture: captureDoor,
  state: stateDoor,
  outbox: outboxDoor,
  memory: memoryDoor,
  checkpoint: checkpointDoor,
  network: networkDoor,
} satisfies Record<string, (folder: string) => Door | Promise<Door>>;

export type DoorName = keyof typeof doors;
export const doorNames = Object.keys(doors) as DoorName[];
