import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { decodeFile } from '../audio/decode.js';
import { SoundpostError } from '../common/errors.js';
import { createLogger } from '../common/logger.js';
import { silentLogger } from '../common/log.js';
import { loadConfig } from '../config/load.js';
import type { Config } from '../config/schema.js';
import { embeddingOf, noEmbedding } from '../inference/embedding-kind.js';
import { embedSound } from '../inference/embed-sound.js';
import { createStartEngine } from '../inference/start-engine.js';
import { openBackground } from '../learning/background.js';
import { DOUBT_TEXTS } from '../learning/doubts.js';
import { checkExampleCount } from '../learning/examples.js';
import { openLearntLabels, type LearntLabels, type StoredLabel } from '../learning/labels-store.js';
import { labelName } from '../models/labels.js';
import type { InstalledModel } from '../models/registry.js';
import { askHealth } from '../service/health-socket.js';
import { embedExample, type Embed } from '../service/teaching/embed-example.js';
import { nameTakenBy } from '../service/teaching/name-taken.js';
import { createTeacher, type Lesson } from '../service/teaching/teacher.js';
import { slugOf } from '../tagging/slug.js';
import type { CommandContext } from './context.js';
import { openRegistry } from './models.js';
import { createProgress } from './progress.js';
import { table } from './table.js';
import { thresholdText } from './thresholds.js';

type Flags = Record<string, string | boolean | undefined>;

/** A service that is there answers at once. */
const ASK_MS = 2000;

/**
 * `soundpost learn NAME FILE…`: teaches a sound from recordings, for the service that is started with this data folder
 * next. `--list` tells of all, `--remove` forgets one. While the service runs it is refused, with what to ask it instead.
 */
export async function learnCommand(context: CommandContext, args: string[], own: Flags): Promise<number> {
  const { config } = loadConfig(context);
  const log = createLogger({ level: 'warn', format: 'pretty' });
  const store = openLearntLabels({ dataDir: config.data_dir, log });
  const [given = '', ...files] = args;
  if (own['list'] === true) {
    if (args.length > 0) throw new SoundpostError('usage', '--list takes no name and no recordings');
    return list(context, await store.load());
  }
  const name = nameOf(given);
  if (own['remove'] === true) {
    if (files.length > 0) throw new SoundpostError('usage', '--remove takes a name and no recordings');
    await checkStopped(config, `{"name":${JSON.stringify(name)}}`, 'learn/remove');
    await store.remove(name);
    say(context, { name, removed: true }, `${name} is forgotten`);
    return 0;
  }
  if (files.length === 0)
    throw new SoundpostError('usage', 'Name the recordings: soundpost learn NAME FILE…');
  checkExampleCount(name, files.length);
  await checkStopped(config, `{"name":${JSON.stringify(name)},"clip":"…"}`, 'learn/example');
  const model = await openRegistry(context).get(
    typeof own['model'] === 'string' ? own['model'] : config.model.id,
  );
  if (embeddingOf(model.manifest) === null) throw noEmbedding(model.manifest);
  await checkName(name, { config, model, store, replace: own['replace'] === true });
  const label = await teachFrom(files, name, config, model);
  const stored = await store.save(label, { replace: own['replace'] === true });
  say(context, described(stored), `${name} has been taught. ${inWords(stored)}`);
  return 0;
}

function nameOf(text: string): string {
  const name = labelName.max(100, 'has to have at most 100 characters').safeParse(text);
  if (name.success) return name.data;
  throw new SoundpostError('usage', 'Name the sound, and then its recordings: soundpost learn NAME FILE…');
}

async function checkStopped(config: Config, request: string, command: string): Promise<void> {
  const answer = await askHealth(config.data_dir, ASK_MS);
  if (answer === 'nobody') return;
  const topic = `${config.mqtt.base_topic}/${config.device.id}/request/${command}`;
  throw new SoundpostError(
    'learn_service_runs',
    `The service is running on ${config.data_dir}. Ask it, on its page or over MQTT (${topic} ${request}), or stop it first.`,
  );
}

async function checkName(
  name: string,
  {
    config,
    model,
    store,
    replace,
  }: { config: Config; model: InstalledModel; store: LearntLabels; replace: boolean },
): Promise<void> {
  const groups = config.tagging.labels.flatMap((entry) =>
    typeof entry === 'string' ? [] : [{ name: entry.name, slug: slugOf(entry.name) }],
  );
  const taken = nameTakenBy(name, { labels: model.labels, watched: groups });
  if (taken !== null) {
    throw new SoundpostError(
      'learn_exists',
      `"${taken}" is a label of ${model.manifest.id}, or a group, already. Choose another name.`,
    );
  }
  const there = (await store.load()).find(({ slug }) => slug === slugOf(name));
  if (there !== undefined && !replace) {
    throw new SoundpostError(
      'learn_exists',
      `There is a taught sound "${there.name}" already. Choose another name, or add --replace.`,
    );
  }
}

/** Everything is embedded by one engine, which is then ended. */
async function teachFrom(files: readonly string[], name: string, config: Config, model: InstalledModel) {
  const { learn, data_dir: dataDir, tagging } = config;
  const engine = await createStartEngine({ log: silentLogger })(model, { threads: config.model.threads });
  const background = openBackground({ dataDir, maxMb: learn.max_background_mb, log: silentLogger });
  const progress = createProgress(`teaching ${name}`);
  try {
    const embed: Embed = (samples, rate) =>
      embedSound(engine, samples, rate, {
        windowSeconds: config.inference.window_seconds,
        turn: (run) => run(),
      });
    const examples: Lesson['examples'][number][] = [];
    for (const [n, path] of files.entries()) {
      progress.update(path);
      const { samples, sampleRate } = await decodeFile(path);
      const sha256 = createHash('sha256')
        .update(await readFile(path))
        .digest('hex');
      examples.push({
        ...(await embedExample(embed, samples, sampleRate, { room: null, name: path, seed: n })),
        name: path,
        origin: { kind: 'file', name: basename(path), sha256 },
      });
    }
    progress.update('learning');
    const teacher = createTeacher({
      embed,
      background: learn.background ? background : null,
      settings: { falseAlarmsPerDay: learn.false_alarms_per_day, minGapSeconds: tagging.min_gap_seconds },
    });
    const { id, onnx_sha256: sha256 } = model.manifest;
    return await teacher({ name, examples, without: [], model: { id, sha256 } });
  } finally {
    progress.done();
    await background.close();
    await engine.stop();
  }
}

function list(context: CommandContext, labels: readonly StoredLabel[]): number {
  if (context.json) {
    context.stdout.write(`${JSON.stringify(labels.map(described))}\n`);
    return 0;
  }
  if (labels.length === 0) {
    context.stdout.write('Nothing has been taught yet: soundpost learn NAME FILE…\n');
    return 0;
  }
  context.stdout.write(
    table([
      ['SOUND', 'MODEL', 'THRESHOLD', 'FOUND', 'FALSE ALARMS A DAY', 'HEARD'],
      ...labels.map(({ name, model, threshold, quality }) => [
        name,
        model.id,
        thresholdText(threshold),
        `${quality.found} of ${quality.of}`,
        alarmsOf(quality) ?? 'too little heard',
        `${quality.heard_hours.toFixed(1)} h`,
      ]),
    ]),
  );
  for (const { name, quality } of labels)
    for (const doubt of quality.doubts) context.stdout.write(`${name}: ${DOUBT_TEXTS[doubt]}\n`);
  return 0;
}

/** All but the numbers of its head. */
function described({ name, slug, model, threshold, examples, made_at, quality }: StoredLabel): object {
  return { name, slug, model, threshold, examples, made_at, quality };
}

function alarmsOf({ false_alarms_per_day: alarms }: StoredLabel['quality']): string | null {
  return alarms === null ? null : `${alarms.low.toFixed(1)} to ${alarms.high.toFixed(1)}`;
}

function inWords({ quality, threshold }: StoredLabel): string {
  const alarms = alarmsOf(quality);
  const expected =
    alarms === null
      ? 'This device has heard too little to say how often it will be wrong.'
      : `By what this device has heard in ${quality.heard_hours.toFixed(1)} h, ${alarms} false alarms a day are to be expected.`;
  const { heard_before: before, doubts } = quality;
  const rang =
    before === 0 || doubts.includes('common')
      ? []
      : [
          `It was heard ${before === 1 ? 'once' : `${before} times`} before; that does not count as something else.`,
        ];
  return [
    `${quality.found} of its ${quality.of} examples were found by what was learnt from the others; its threshold is ${thresholdText(threshold)}.`,
    expected,
    ...rang,
    ...doubts.map((doubt) => DOUBT_TEXTS[doubt]),
  ].join(' ');
}

function say(context: CommandContext, data: object, text: string): void {
  context.stdout.write(context.json ? `${JSON.stringify(data)}\n` : `${text}\n`);
}
