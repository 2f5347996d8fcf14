import { join, resolve } from 'node:path';
import { codeOf, messageOf, SoundpostError } from '../common/errors.js';
import { interruptible } from '../common/interrupt.js';
import { silentLogger } from '../common/log.js';
import { didYouMean } from '../common/nearest.js';
import { projectRoot } from '../common/project.js';
import { SHA256_HEX } from '../common/rules.js';
import { loadConfig } from '../config/load.js';
import type { Config } from '../config/schema.js';
import { openStateStore } from '../config/state-store.js';
import { optimizedFolderIn } from '../inference/optimized-copy.js';
import { createStartEngine } from '../inference/start-engine.js';
import { convertCheckpoint } from '../convert/convert.js';
import { createInstaller, type Installer } from '../install/installer.js';
import type { InstallProgress } from '../install/progress.js';
import type { OnnxFacts } from '../install/propose-manifest.js';
import { createUpdateLock, updateLockPath } from '../install/update-lock.js';
import { megabytes } from '../common/size-text.js';
import { readLabelNames } from '../models/labels.js';
import type { InstalledModel } from '../models/registry.js';
import { startingWishes } from '../service/remembered.js';
import type { CommandContext } from './context.js';
import { openRegistry } from './models.js';
import { createProgress } from './progress.js';
import { positive } from './tag.js';

type Flags = Record<string, string | boolean | undefined>;

/** `soundpost models pull ID`: download, convert, check, install. */
export async function modelsPullCommand(
  context: CommandContext,
  [id = '']: string[],
  own: Flags,
): Promise<number> {
  const sha256 = digestFrom(own['acceptDigest']);
  return withProgress(`pulling ${id}`, async (onProgress, signal) => {
    const { model, installed } = await openInstaller(context).pull(id, { onProgress, signal, sha256 });
    report(context, model, installed ? 'installed' : 'already_installed');
  });
}

/**
 * `soundpost models import FILE --id ID`: convert, check and install a checkpoint (`--architecture NAME`), or check and
 * install a network that is ONNX already.
 */
export async function modelsImportCommand(
  context: CommandContext,
  [file = '']: string[],
  own: Flags,
): Promise<number> {
  const isOnnx = /\.onnx$/i.test(file);
  const [architecture, id] = [textOf(own['architecture']), textOf(own['id'])];
  if (id === undefined || (architecture === undefined) !== isOnnx) {
    throw new SoundpostError(
      'usage',
      isOnnx
        ? 'models import of an ONNX network needs --id ID and no --architecture, for example: npx soundpost models import tagger.onnx --id my_tagger --labels labels.txt --sample-rate 16000 --window 1'
        : 'models import needs --architecture NAME and --id ID, for example: npx soundpost models import weights.pt --architecture mn10 --id my_mn10',
    );
  }
  const facts = onnxFacts(own);
  const given = ONNX_FLAGS.filter(([name]) => own[name] !== undefined).map(([, flag]) => flag);
  if (!isOnnx && given.length > 0) {
    throw new SoundpostError(
      'usage',
      `${given.join(', ')}: only for ONNX networks; a checkpoint has it from its architecture.`,
    );
  }
  if (isOnnx && own['stateDict'] !== undefined) {
    throw new SoundpostError('usage', '--state-dict: only for checkpoints.');
  }
  const labelsFile = textOf(own['labels']);
  const labels = labelsFile === undefined ? undefined : await readLabelNames(labelsFile);
  const wanted = { file: resolve(file), id, labels, title: textOf(own['title']) };
  return withProgress(`importing ${file}`, async (onProgress, signal) => {
    const installer = openInstaller(context);
    const options = { onProgress, signal };
    const model =
      architecture === undefined
        ? await installer.importOnnx({ ...wanted, facts }, options).catch(explainOutput)
        : await installer.importCheckpoint(
            { ...wanted, architecture, stateDict: textOf(own['stateDict']) },
            options,
          );
    report(context, model, 'installed');
    if (architecture === undefined && !context.json) context.stdout.write(onnxNote(model));
  });
}

/** The flags that only ONNX networks have, as commander and as people call them. */
const ONNX_FLAGS = [
  ['sampleRate', '--sample-rate'],
  ['window', '--window'],
  ['minSeconds', '--min-seconds'],
  ['frontend', '--frontend'],
  ['layout', '--layout'],
  ['activation', '--activation'],
  ['scores', '--scores'],
  ['framesHop', '--frames-hop'],
] as const;

function onnxFacts(own: Flags): OnnxFacts {
  const number = (name: string, flag: string) =>
    own[name] === undefined ? undefined : positive(flag, own[name]);
  return {
    sampleRate: number('sampleRate', '--sample-rate'),
    windowSeconds: number('window', '--window'),
    minSeconds: number('minSeconds', '--min-seconds'),
    frontend: textOf(own['frontend']),
    layout: oneOf('--layout', textOf(own['layout'])?.toUpperCase(), ['NCTF', 'NCFT']),
    activation: oneOf('--activation', textOf(own['activation']), ['none', 'sigmoid', 'softmax']),
    scores: textOf(own['scores']),
    framesHopSeconds: number('framesHop', '--frames-hop'),
  };
}

function oneOf<const T extends string>(
  flag: string,
  value: string | undefined,
  allowed: readonly T[],
): T | undefined {
  if (value === undefined) return undefined;
  const found = allowed.find((one) => one === value);
  if (found === undefined) {
    throw new SoundpostError(
      'usage',
      `${flag} ${value}: has to be ${allowed.join(' or ')}.${didYouMean(value, allowed)}`,
    );
  }
  return found;
}

/** Numbers that are no scores are mostly logits; the graph does not say of which kind. */
function explainOutput(error: unknown): never {
  if (codeOf(error) !== 'model_output') throw error;
  throw new SoundpostError(
    'model_output',
    `${messageOf(error)} If its output is logits, say how they become scores: --activation sigmoid where each label is there or not, --activation softmax where it is one of all.`,
    { cause: error },
  );
}

/** What was taken for granted, to be looked at. */
function onnxNote({ manifest: { input, output }, folder }: InstalledModel): string {
  const frames = output.frames;
  const when =
    frames === null
      ? 'no frames (it does not say when)'
      : `frames "${frames.name}" every ${frames.hop_seconds} s`;
  return (
    `Its manifest was proposed from the graph: ${input.kind}, ${input.sample_rate} Hz, windows of ${input.window_seconds} s ` +
    `(at least ${input.min_seconds} s), scores "${output.scores}", activation ${output.activation}, ${when}.\n` +
    `Correct ${join(folder, 'model.json')} where that is not so.\n`
  );
}

/** `soundpost models remove ID`. */
export async function modelsRemoveCommand(context: CommandContext, [id = '']: string[]): Promise<number> {
  const { config } = loadConfig(context);
  const store = await openStateStore({ dataDir: config.data_dir, log: silentLogger });
  await openInstaller(context).remove(id, [startingWishes(config, store).modelId]);
  context.stdout.write(context.json ? `${JSON.stringify({ id, removed: true })}\n` : `Removed ${id}.\n`);
  return 0;
}

/** An installer with the configuration's sources. */
function openInstaller(context: CommandContext): Installer {
  const { config } = loadConfig(context);
  return createInstaller({
    registry: openRegistry(context),
    bundledFolder: join(projectRoot(), 'models'),
    settings: sourceSettings(config),
    convert: convertCheckpoint,
    startEngine: createStartEngine({ log: silentLogger }),
    threads: config.model.threads,
    optimizedFolder: optimizedFolderIn(config.data_dir),
    updateLock: createUpdateLock({ path: updateLockPath(context.env), log: silentLogger }),
    log: silentLogger,
  });
}

function sourceSettings({ models }: Config) {
  return {
    mirror: models.mirror,
    allowedHosts: models.allowed_hosts,
    requireDigest: models.require_digest,
  };
}

/**
 * Shows how far the work is. Ctrl-C calls it off in an orderly way: what was downloaded is kept, the rest goes.
 */
async function withProgress(
  what: string,
  work: (onProgress: (progress: InstallProgress) => void, signal: AbortSignal) => Promise<void>,
): Promise<number> {
  const progress = createProgress(what);
  const interrupt = interruptible(() => undefined);
  try {
    await work((now) => progress.update(describe(now, process.stderr.isTTY)), interrupt.signal);
    progress.done();
    return 0;
  } catch (error) {
    progress.done();
    if (codeOf(error) !== 'aborted') throw error;
    process.stderr.write(`soundpost: ${messageOf(error)}\n`);
    return interrupt.exitCode ?? 1;
  } finally {
    interrupt.release();
  }
}

const BAR = 24;

function describe({ step, share, done, total }: InstallProgress, bar: boolean): string {
  const percent = share === null ? '' : ` ${Math.floor(share * 100)} %`;
  const filled = Math.round((share ?? 0) * BAR);
  const drawn = bar && share !== null ? ` [${'#'.repeat(filled)}${'-'.repeat(BAR - filled)}]` : '';
  const bytes = done === undefined ? '' : `, ${megabytes(done)}${total ? ` of ${megabytes(total)}` : ''}`;
  return `${step}${drawn}${percent}${bytes}`;
}

function report({ json, stdout }: CommandContext, model: InstalledModel, outcome: string): void {
  const { manifest, folder, labels } = model;
  if (json) {
    stdout.write(
      `${JSON.stringify({ id: manifest.id, outcome, folder, labels: labels.length, source: manifest.source })}\n`,
    );
    return;
  }
  if (outcome === 'already_installed') {
    stdout.write(`${manifest.id} is here already: ${folder}\n`);
    return;
  }
  stdout.write(
    `Installed ${manifest.id} (${manifest.title}) in ${folder}.\n` +
      `Try it: npx soundpost tag --model ${manifest.id} recording.wav, or model/set over MQTT.\n`,
  );
}

function textOf(value: string | boolean | undefined): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function digestFrom(value: string | boolean | undefined): string | undefined {
  const text = textOf(value)?.toLowerCase();
  if (text === undefined || SHA256_HEX.test(text)) return text;
  throw new SoundpostError('usage', '--accept-digest has to be a SHA-256: 64 hexadecimal digits.');
}
