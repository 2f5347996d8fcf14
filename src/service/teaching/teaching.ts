import { messageOf, SoundpostError } from '../../common/errors.js';
import type { Logger } from '../../common/log.js';
import type { Clips } from '../../clips/clips.js';
import type { Config } from '../../config/schema.js';
import { persistence } from '../../config/state-store.js';
import { embeddingOf, noEmbedding } from '../../inference/embedding-kind.js';
import type { Learning } from '../../inference/learning.js';
import type { HeadsInForce, LearntHead } from '../../inference/learnt-heads.js';
import type { WindowResult } from '../../inference/window-report.js';
import { openBackground } from '../../learning/background.js';
import { openBegunStore } from '../../learning/begun-store.js';
import { openLearntLabels } from '../../learning/labels-store.js';
import type { InstalledModel } from '../../models/registry.js';
import type { ServiceControl } from '../../mqtt/command-table.js';
import { isoTime } from '../../mqtt/contract.js';
import type { LearnData } from '../../mqtt/learn-specs.js';
import type { Learnt } from '../../tagging/learnt.js';
import type { Life } from '../life.js';
import { createBegunSounds, missingOf, type Begun } from './begun.js';
import type { Embed } from './embed-example.js';
import { createHeardMinute, type HeardTap } from './heard.js';
import { createLearntSounds } from './learnt-sounds.js';
import { createExampleTaker } from './take-example.js';
import { createTeachAgain } from './teach-again.js';
import { createTeacher } from './teacher.js';

/** Sounds of one's own: how they are taught, what is kept of them, and what is heard day in, day out. */
export interface Teaching {
  readonly commands: ServiceControl['learn'];
  /** Before the first model is loaded: what was taught is at work from its first window on. */
  start(): Promise<void>;
  /** Takes the sound of a source as it is heard. */
  of(source: string): HeardTap;
  /** A window of a source was answered. */
  result(source: string, result: WindowResult): void;
  /** Which heads are at work, and which are not. */
  headsChanged(model: InstalledModel, heads: HeadsInForce): void;
  /** Of all that was taught, whether it is at work or not. */
  names(): readonly string[];
  /** What heads are called, in their order. */
  learntOf(heads: readonly LearntHead[]): Learnt[];
}

/** A second in every five: of a night more than an hour. */
const SAMPLE_EVERY_MS = 5000;
/** From this share of its threshold on, a taught sound may be what is heard: it must not count as something else. */
const MAYBE = 0.5;

export function openTeaching(options: {
  config: Pick<Config, 'learn' | 'data_dir' | 'tagging'>;
  /** Their names. */
  sources: readonly string[];
  learning: () => Learning;
  /** The model at work; null: none is. */
  model: () => InstalledModel | null;
  /** The label or group that a name is taken by; null: it is free. What was taught is not looked at. */
  takenBy: (name: string) => string | null;
  clips: Pick<Clips, 'enabled' | 'get' | 'started' | 'ended'>;
  life: Pick<Life, 'onStop'>;
  /** Told of what is being taught, whenever that changes. */
  onBegun: (names: readonly string[]) => void;
  log: Logger;
}): Teaching {
  const { config, sources, learning, life, log } = options;
  const { data_dir: dataDir, learn } = config;
  const background = openBackground({ dataDir, maxMb: learn.max_background_mb, log });
  life.onStop(() => background.close());
  const sounds = createLearntSounds({ store: openLearntLabels({ dataDir, log }), learning, log });
  const heard = createHeardMinute(sources);
  const begun = createBegunSounds({
    store: openBegunStore({ dataDir, log }),
    onChange(names) {
      heard.setOn(names.length > 0);
      options.onBegun(names);
    },
  });
  life.onStop(() => begun.stop());
  const embed: Embed = (samples, rate) => learning().embed(samples, rate);
  const taker = createExampleTaker({ heard, sources, embed, clips: options.clips });
  const teacher = createTeacher({
    embed,
    background: learn.background ? background : null,
    settings: {
      falseAlarmsPerDay: learn.false_alarms_per_day,
      minGapSeconds: config.tagging.min_gap_seconds,
    },
  });
  const teachAgain = createTeachAgain({ sounds, takeFrom: taker, teacher, log });
  life.onStop(() => teachAgain.stop());

  /** Throws SoundpostError `no_embedding`, `inference_died` where nothing can be taught now. */
  function learner(): InstalledModel {
    const model = options.model();
    if (model === null) {
      throw new SoundpostError(
        'inference_died',
        'No model is at work just now: it is being started. Try again in a moment.',
      );
    }
    if (embeddingOf(model.manifest) === null) throw noEmbedding(model.manifest);
    return model;
  }

  function checkName(name: string): void {
    const there = sounds.find(name);
    if (there !== undefined && sounds.stateOf(there).state !== 'at_work') return;
    if (there !== undefined) {
      throw new SoundpostError(
        'learn_exists',
        `There is a taught sound "${there.name}" already. Choose another name, or remove it first.`,
      );
    }
    const taken = options.takenBy(name);
    if (taken === null) return;
    throw new SoundpostError(
      'learn_exists',
      `"${taken}" is a label of the model, or a group, already. Choose another name.`,
    );
  }

  const commands: ServiceControl['learn'] = {
    async 'learn/begin'({ name }) {
      learner();
      checkName(name);
      const described = describeBegun(begun.begin(name));
      return { ...described, ...persistence(await begun.isKept()) };
    },
    async 'learn/example'(request) {
      learner();
      const { name, examples } = begun.get(request.name);
      const before = examples.length;
      const example = await taker.take({ ...request, name }, `Example ${before + 1}`, before);
      const now = begun.add(name, example);
      const isKept = await begun.isKept();
      const { span, part, origin } = example;
      const isClip = request.clip !== undefined;
      return {
        ...describeBegun(now),
        from: isClip || span === null ? null : isoTime(span.fromMs),
        to: isClip || span === null ? null : isoTime(span.toMs),
        seconds: part.toSeconds - part.fromSeconds,
        peak_dbfs: part.peakDbfs,
        clip: origin.kind === 'clip' ? origin.clip : null,
        ...persistence(isKept),
      };
    },
    async 'learn/finish'({ name }, { signal }) {
      const { manifest } = learner();
      checkName(name);
      const { name: asBegun, examples, sinceMs } = begun.get(name);
      const label = await teacher(
        {
          name: asBegun,
          examples: [...examples],
          // What was pressed and not said to be it is no other sound either.
          without: [{ fromMs: sinceMs, toMs: Date.now() }, ...examples.flatMap(({ span }) => span ?? [])],
          model: { id: manifest.id, sha256: manifest.onnx_sha256 },
        },
        signal,
      );
      const stored = await sounds.save(label);
      begun.remove(name);
      log.info({}, `The sound "${stored.name}" has been taught from ${stored.examples.length} examples`);
      return sounds.describe(stored);
    },
    async 'learn/list'() {
      return {
        ...canLearn(learner),
        learnt: sounds.list().map((label) => sounds.describe(label)),
        begun: begun.list().map(describeBegun),
        background: { kept: learn.background, bytes: await background.bytes().catch(() => 0) },
      };
    },
    async 'learn/remove'({ name }) {
      const wasBegun = begun.remove(name);
      if (wasBegun && sounds.find(name) === undefined) return { name, removed: true };
      return { name: await sounds.remove(name), removed: true };
    },
  };

  /** Whether what is heard may be something that was taught, or is being taught. */
  function maybeTaught({ learnt, heads }: WindowResult): boolean {
    if (begun.size > 0) return true;
    if (heads.length === 0) return false;
    const thresholds = sounds.learntOf(heads);
    return thresholds.some(({ threshold }, n) => learnt[n]! >= MAYBE * threshold);
  }

  return {
    commands,
    async start() {
      await sounds.load();
      // Taught and then killed: what is left of the teaching is of no more use.
      await begun.restore(({ name, touchedMs }) => Date.parse(sounds.find(name)?.made_at ?? '') >= touchedMs);
      if (learn.background) learning().setBackground({ everyMs: SAMPLE_EVERY_MS });
      else {
        await background.clear().catch((error: unknown) => {
          log.warn(
            { code: 'background_not_written' },
            `The background cannot be removed: ${messageOf(error)}`,
          );
        });
      }
    },
    of: (source) => heard.of(source),
    result(source, result) {
      const { embedding, pieces, fresh, model } = result;
      if (embedding === null || fresh === null || !learn.background || maybeTaught(result)) return;
      background.add(model.manifest.onnx_sha256, {
        atMs: fresh.startMs,
        seconds: (fresh.endMs - fresh.startMs) / 1000,
        source,
        embeddings: { values: embedding, count: pieces, dim: embedding.length / pieces },
      });
    },
    headsChanged(model, heads) {
      sounds.inForce(heads);
      teachAgain.look(model);
    },
    names: () => sounds.list().map(({ name }) => name),
    learntOf: (heads) => sounds.learntOf(heads),
  };
}

function describeBegun(begun: Begun): LearnData<'learn/begin'> {
  const { name, sinceMs, examples } = begun;
  return { name, since: isoTime(sinceMs), examples: examples.length, missing: missingOf(begun) };
}

function canLearn(learner: () => unknown): { can_learn: boolean; why: string | null } {
  try {
    learner();
    return { can_learn: true, why: null };
  } catch (error) {
    return { can_learn: false, why: messageOf(error) };
  }
}
