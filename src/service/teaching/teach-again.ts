import { messageOf } from '../../common/errors.js';
import type { Logger } from '../../common/log.js';
import type { InstalledModel } from '../../models/registry.js';
import { FEWEST_EXAMPLES } from '../../learning/examples.js';
import type { StoredLabel } from '../../learning/labels-store.js';
import type { GivenExample } from './begun.js';
import type { LearntSounds } from './learnt-sounds.js';
import type { ExampleTaker } from './take-example.js';
import type { Teacher } from './teacher.js';

/** Teaches sounds to another model than the one that they were taught to, from their clips. */
export interface TeachAgain {
  /** Another model is at work, or other sounds have been taught. */
  look(model: InstalledModel): void;
  stop(): Promise<void>;
}

/** One sound after the other, each once for each model; what cannot be taught is told of once. */
export function createTeachAgain(options: {
  sounds: Pick<LearntSounds, 'list' | 'stateOf' | 'save' | 'find'>;
  takeFrom: Pick<ExampleTaker, 'fromClip'>;
  teacher: Teacher;
  log: Logger;
}): TeachAgain {
  const { sounds, takeFrom, teacher, log } = options;
  const abort = new AbortController();
  /** What has been tried: slug and model. */
  const tried = new Set<string>();
  let work: Promise<void> = Promise.resolve();

  async function examplesOf({ examples }: StoredLabel): Promise<GivenExample[]> {
    const found: GivenExample[] = [];
    for (const [n, example] of examples.entries()) {
      if (example.kind !== 'clip' || abort.signal.aborted) continue;
      const taken = await takeFrom.fromClip(example.clip, `Example ${n + 1}`, n).catch(() => null);
      if (taken !== null) found.push(taken);
    }
    return found;
  }

  async function again(label: StoredLabel, { manifest }: InstalledModel): Promise<void> {
    const { name } = label;
    if (abort.signal.aborted || sounds.find(name) !== label) return;
    const clips = label.examples.filter(({ kind }) => kind === 'clip').length;
    const tell = (why: string) => {
      if (abort.signal.aborted) return;
      log.warn(
        { code: 'learnt_not_at_work' },
        `The taught sound "${name}" is not at work: it was taught with ${label.model.id}, and ${why}. Teach it again with learn/begin, or go back to that model.`,
      );
    };
    if (clips < FEWEST_EXAMPLES) {
      tell(
        clips === 0
          ? 'there are no clips of its examples'
          : `there are clips of only ${clips} of its examples`,
      );
      return;
    }
    try {
      const examples = await examplesOf(label);
      const model = { id: manifest.id, sha256: manifest.onnx_sha256 };
      const without = examples.flatMap(({ span }) => span ?? []);
      const taught = await teacher({ name, examples, without, model }, abort.signal);
      // It may have been removed, or taught anew, meanwhile.
      if (sounds.find(name) !== label) return;
      await sounds.save(taught);
      log.info({}, `The sound "${name}" has been taught to ${manifest.id}, from its clips`);
    } catch (error) {
      tell(`it could not be taught to ${manifest.id} from its clips: ${messageOf(error).replace(/\.$/, '')}`);
    }
  }

  function cannot(label: StoredLabel, why: string | null): void {
    log.warn(
      { code: 'learnt_not_at_work' },
      `The taught sound "${label.name}" is not at work: ${why ?? 'the model cannot be taught'}`,
    );
  }

  return {
    look(model) {
      for (const label of sounds.list()) {
        const { state, why } = sounds.stateOf(label);
        const key = `${label.slug} ${label.model.sha256} ${model.manifest.onnx_sha256}`;
        if (state === 'at_work' || tried.has(key)) continue;
        tried.add(key);
        if (state === 'cannot') cannot(label, why);
        else work = work.then(() => again(label, model));
      }
    },
    async stop() {
      abort.abort();
      await work;
    },
  };
}
