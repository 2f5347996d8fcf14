import fc from 'fast-check';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import t from 'tap';
import { stringify } from 'yaml';
import { SoundpostError } from '../../src/common/errors.js';
import { loadConfig, type ConfigSources } from '../../src/config/load.js';
import { environmentName } from '../../src/config/schema.js';
import { commandSpecs, type CommandName } from '../../src/mqtt/command-specs.js';
import { createTopics } from '../../src/mqtt/topics.js';
import { resolveWatched, type TaggingSettings } from '../../src/tagging/watch.js';
import { allWatched } from '../support/tagging.js';
import { temporaryFolder } from '../support/temporary.js';

/*
 * One rule stands in one place: whatever door a value comes in by, it is taken by all or refused by all, and means the
 * same. fast-check prints the seed of a run that fails.
 */

const folder = temporaryFolder(t);
const REFUSED = Symbol('refused');

/** What the configuration makes of a key, or that it refuses it. */
function configured(key: string, sources: ConfigSources): unknown {
  try {
    const { entries } = loadConfig({ env: {}, flags: {}, root: folder, cwd: folder, ...sources });
    return entries.find((entry) => entry.key === key)?.value;
  } catch (error) {
    if (error instanceof SoundpostError && error.code === 'config') return REFUSED;
    throw error;
  }
}

const inEnvironment = (key: string, value: unknown): unknown =>
  configured(key, {
    env: { [environmentName(key)]: typeof value === 'string' ? value : JSON.stringify(value) },
  });

function inFile(key: string, value: unknown): unknown {
  const configPath = join(folder, 'alike.yaml');
  writeFileSync(
    configPath,
    stringify(key.split('.').reduceRight((inner, name) => ({ [name]: inner }), value)),
  );
  return configured(key, { configPath });
}

/** What a command makes of one field of its request. */
function inCommand(name: CommandName, request: unknown, field: string): unknown {
  const read = commandSpecs[name].schema.safeParse(request);
  return read.success ? (read.data as Record<string, unknown>)[field] : REFUSED;
}

/** The same as plain text on the topic of the command, trimmed as the router does. */
function inPlainText(
  name: 'rate/set' | 'telemetry/set' | 'threshold/set',
  text: string,
  field: string,
): unknown {
  return inCommand(name, commandSpecs[name].parseSet?.(text.trim()), field);
}

/** Fails, with what each door says, unless all say the same. */
function alike(verdicts: Record<string, unknown>): void {
  const [first, ...rest] = Object.values(verdicts);
  if (rest.every((verdict) => isDeepStrictEqual(verdict, first))) return;
  const said = Object.entries(verdicts).map(([door, verdict]) => [
    door,
    verdict === REFUSED ? 'refused' : verdict,
  ]);
  throw new Error(`not judged alike: ${JSON.stringify(Object.fromEntries(said))}`);
}

/** Numbers near the limits of a rule, and any. JSON has no negative zero, which one door would keep and others not. */
const numbersAbout = (...limits: number[]) =>
  fc
    .oneof(
      fc.constantFrom(...limits.flatMap((limit) => [limit, limit - 1e-9, limit + 1e-9, -limit])),
      fc.integer({ min: -10, max: 100_000 }),
      fc.double({ noNaN: true, noDefaultInfinity: true }),
    )
    .map((number) => number + 0);

const numberDoors = [
  ['inference.rate_hz', 'rate/set', 'hz', [0.01, 20]],
  ['telemetry.interval_seconds', 'telemetry/set', 'interval_seconds', [1, 86_400]],
  ['tagging.threshold', 'threshold/set', 'value', [0, 1]],
] as const;

for (const [key, command, field, limits] of numberDoors) {
  t.test(`${key} and ${command}`, (t) => {
    fc.assert(
      fc.property(numbersAbout(...limits), (value) => {
        alike({
          environment: inEnvironment(key, value),
          file: inFile(key, value),
          command: inCommand(command, { [field]: value }, field),
          text: inPlainText(command, String(value), field),
        });
      }),
      { numRuns: 200 },
    );
    const text = fc.oneof(
      fc.stringMatching(/^[ +-]?\d{0,3}\.?\d{0,2}(e[+-]?\d{1,4})? ?$/),
      fc.constantFrom('0x1', '1,5', 'NaN', 'Infinity', 'one', '1_0', '٣'),
    );
    fc.assert(
      fc.property(
        text.filter((written) => written.trim() !== ''),
        (written) =>
          alike({ environment: inEnvironment(key, written), text: inPlainText(command, written, field) }),
      ),
      { numRuns: 200 },
    );
    t.end();
  });
}

/**
 * Text of these signs, as people write it and as they should not, and such as is nearly too long; never empty, which
 * the environment takes for nothing.
 */
const textFrom = (signs: string, longest: number) =>
  fc.oneof(
    fc.string({ unit: fc.constantFrom(...signs.split('|')), minLength: 1, maxLength: 6 }),
    fc.string({ unit: 'grapheme', minLength: 1, maxLength: 8 }),
    fc.integer({ min: longest - 1, max: longest + 1 }).map((length) => 'x'.repeat(length)),
  );

t.test('model.id and model/set', (t) => {
  fc.assert(
    fc.property(textFrom('a|Z|0|9|.|_|-|/| |\n', 64), (id) => {
      alike({
        environment: inEnvironment('model.id', id),
        file: inFile('model.id', id),
        command: inCommand('model/set', { id }, 'id'),
        'another command': inCommand('model/remove', { id }, 'id'),
      });
    }),
    { numRuns: 200 },
  );
  t.end();
});

t.test('device.id and mqtt.base_topic, and the topics that are made of them', (t) => {
  const topics = (base: string, id: string, value: string) => {
    try {
      createTopics(base, id);
      return value;
    } catch (error) {
      if (error instanceof SoundpostError && error.code === 'invalid_topic') return REFUSED;
      throw error;
    }
  };
  fc.assert(
    fc.property(textFrom('a|Z|0|9|_|-|.| |/|\n', 64), (id) => {
      const judged = { environment: inEnvironment('device.id', id), file: inFile('device.id', id) };
      alike({ ...judged, topics: topics('soundpost', id, id) });
    }),
    { numRuns: 200 },
  );
  fc.assert(
    fc.property(textFrom('a|/|$|+|#| |\n|\u007f|\u0001', 200), (base) => {
      const judged = {
        environment: inEnvironment('mqtt.base_topic', base),
        file: inFile('mqtt.base_topic', base),
      };
      alike({ ...judged, topics: topics(base, 'attic', base) });
    }),
    { numRuns: 300 },
  );
  t.end();
});

t.test('audio.device and audio/set', (t) => {
  const isTaken = (verdict: unknown) => verdict !== REFUSED;
  // Text is a name, and digits are an index; in the environment "-1" is a name as well.
  const device = fc.oneof(
    textFrom('a|U| |:|-|(|)|\n|\u0085|\u0001', 200),
    fc.integer({ min: 0, max: 2_000_000 }),
  );
  fc.assert(
    fc.property(device, (value) => {
      alike({
        environment: isTaken(inEnvironment('audio.device', value)),
        file: isTaken(inFile('audio.device', value)),
        command: isTaken(inCommand('audio/set', { device: value }, 'device')),
      });
    }),
    { numRuns: 300 },
  );
  t.end();
});

const label = fc.oneof(textFrom('a|A| |,|\n|\u0085|\u0001', 200), fc.constantFrom('Speech', ' Dog '));
const group = fc.record(
  {
    name: fc.oneof({ weight: 4, arbitrary: label }, { weight: 1, arbitrary: fc.constantFrom(1, '', null) }),
    labels: fc.oneof(
      { weight: 4, arbitrary: fc.array(label, { maxLength: 3 }) },
      { weight: 1, arbitrary: fc.constantFrom('Speech', null) },
    ),
    threshold: numbersAbout(0, 1),
    confirm: fc.constantFrom('1/1', ' 2 / 3', '3/2', '100/100', '1/101', '0/1', '2', 2),
    min_duration_seconds: numbersAbout(0, 3600),
    min_gap_seconds: numbersAbout(0, 3600),
    other: fc.constant(1),
  },
  { requiredKeys: ['name', 'labels'] },
);
/** Such as are right, so that not everything is refused. */
const goodGroup = fc.record(
  {
    name: fc.constantFrom('A', 'a ', 'B', 'Alarm'),
    labels: fc.array(fc.constantFrom('Speech', ' Dog '), { minLength: 1, maxLength: 2 }),
    threshold: fc.constantFrom(0, 0.4, 1),
    confirm: fc.constantFrom('1/1', ' 2 / 3', '100/100'),
    min_duration_seconds: fc.constantFrom(0, 3600),
    min_gap_seconds: fc.constantFrom(0, 0.5),
  },
  { requiredKeys: ['name', 'labels'] },
);

t.test('tagging.labels and labels/set', (t) => {
  // Two groups of one name are refused where the command is carried out.
  const watched = (labels: unknown) => {
    if (labels === REFUSED) return REFUSED;
    try {
      resolveWatched([], { ...allWatched, labels: labels as TaggingSettings['labels'] });
      return labels;
    } catch (error) {
      if (error instanceof SoundpostError && error.code === 'invalid_tagging') return REFUSED;
      throw error;
    }
  };
  const judge = (labels: readonly unknown[]) =>
    alike({
      environment: inEnvironment('tagging.labels', labels),
      file: inFile('tagging.labels', labels),
      command: watched(inCommand('labels/set', { labels }, 'labels')),
    });
  const good = fc.array(fc.oneof(fc.constantFrom('Speech', ' Dog '), goodGroup), { maxLength: 3 });
  const any = fc.array(fc.oneof(label, group, fc.constantFrom(1, null, true)), { maxLength: 3 });
  fc.assert(fc.property(fc.oneof(good, any), judge), { numRuns: 500 });
  const named = (name: string) => ({ name, labels: ['Speech'] });
  for (const labels of [
    [named('A'), named(' a')],
    ['\u0085'],
    [named('a\u0085')],
    ['\ud83d\udd0a'.repeat(200)],
    ['\ud83d\udd0a'.repeat(201)],
    [`${'x'.repeat(200)} `],
  ]) {
    judge(labels);
  }
  judge(Array.from({ length: 10_001 }, (_, index) => `label ${index}`));
  t.end();
});

t.test('tagging.thresholds and threshold/set', (t) => {
  const isTaken = (verdict: unknown) => verdict !== REFUSED;
  fc.assert(
    fc.property(label, numbersAbout(0, 1), (name, value) => {
      alike({
        environment: isTaken(inEnvironment('tagging.thresholds', { [name]: value })),
        file: isTaken(inFile('tagging.thresholds', { [name]: value })),
        command: isTaken(inCommand('threshold/set', { value, label: name }, 'value')),
      });
    }),
    { numRuns: 300 },
  );
  t.end();
});
