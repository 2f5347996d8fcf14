import { messageOf, SoundpostError } from '../common/errors.js';
import { silentLogger } from '../common/log.js';
import { loadConfig } from '../config/load.js';
import { taggingSettings } from '../config/tagging-settings.js';
import { createStartEngine } from '../inference/start-engine.js';
import { tagRecording, type RecordingWindow } from '../inference/tag-recording.js';
import { soundsOfRecording } from '../tagging/recording-events.js';
import { topTags, type Tag } from '../tagging/top.js';
import { resolveWatched, type TaggingSettings } from '../tagging/watch.js';
import type { InstalledModel } from '../models/registry.js';
import type { CommandContext } from './context.js';
import { openRegistry } from './models.js';
import { createProgress } from './progress.js';
import { eventPrinter } from './tag-events.js';
import { clock, terminalWidth, flow, table } from './table.js';

/**
 * `soundpost tag FILE…`: the tags of recordings, as a table over time or as one line of JSON a file:
 * `{"file","model","duration_s","windows":[{"start_s","end_s","tags":[{"label","mid","score"}…]}]}`, scores
 * unrounded. `-` is the standard input. With `--events` their sounds, each with its onset and offset, as the service
 * would tell them; as a table, `--json`, `--csv`, or a label track for `--audacity`. A file that cannot be tagged does not
 * keep the others from being tagged. Resolves to 1 where any
 * failed.
 */
export async function tagCommand(
  context: CommandContext,
  files: string[],
  own: Record<string, string | boolean | undefined>,
): Promise<number> {
  const { config } = loadConfig(context);
  const top = positive('--top', own['top'], 5, Number.isInteger);
  // Not what the configuration says: that is about the sound which the service listens to.
  const part = (name: 'track' | 'channel') => {
    const text = own[name] ?? context.flags[`audio.${name}`] ?? context.flags[`audio-${name}`];
    return text === undefined || text === 'mix'
      ? undefined
      : positive(`--${name}`, text, NaN, Number.isInteger);
  };
  const parts = { track: part('track'), channel: part('channel') };
  const hop = own['hop'] === undefined ? null : positive('--hop', own['hop']);
  const model = await openRegistry(context).get(
    typeof own['model'] === 'string' ? own['model'] : config.model.id,
  );
  const wantsEvents = own['events'] === true;
  const printer = wantsEvents
    ? eventPrinter(context, files, { csv: own['csv'] === true, audacity: own['audacity'] === true })
    : null;
  if (printer === null && (own['csv'] === true || own['audacity'] === true)) {
    throw new SoundpostError('usage', '--csv and --audacity are forms of --events: add it');
  }
  const settings = taggingSettings(config);
  if (printer !== null) warnOfUnknown(model, settings);
  const hopSeconds = hop ?? model.manifest.input.window_seconds;
  const startEngine = createStartEngine({ log: silentLogger });
  const engine = await startEngine(model, { threads: config.model.threads });
  let failed = 0;
  try {
    printer?.begin();
    for (const file of files) {
      const progress = createProgress(`tagging ${file}`);
      try {
        if (printer !== null) {
          const found = await soundsOfRecording(engine, file, {
            rateHz: hop === null ? config.inference.rate_hz : 1 / hop,
            windowSeconds: config.inference.window_seconds,
            settings,
            ...parts,
            onProgress: (at) => progress.update(`${clock(at, 1)} of sound`),
          });
          progress.done();
          for (const warning of found.warnings) process.stderr.write(`soundpost: ${file}: ${warning}\n`);
          printer.recording(file, model.manifest.id, found.durationSeconds, found.sounds);
          continue;
        }
        const windows: { window: RecordingWindow; tags: Tag[] }[] = [];
        const recording = tagRecording(engine, file, { hopSeconds, ...parts });
        let step = await recording.next();
        for (; step.done !== true; step = await recording.next()) {
          const window = step.value;
          windows.push({ window, tags: topTags(window.scores, model.labels, top) });
          progress.update(`${clock(window.endSeconds, 1)} of sound`);
        }
        progress.done();
        const { durationSeconds, warnings } = step.value;
        for (const warning of warnings) process.stderr.write(`soundpost: ${warning}\n`);
        print(context, file, model.manifest.id, durationSeconds, windows, files.length > 1);
      } catch (error) {
        progress.done();
        if (!(error instanceof SoundpostError)) throw error;
        failed += 1;
        process.stderr.write(`soundpost: ${messageOf(error)}\n`);
        if (error.code.startsWith('inference_')) return 1;
      }
    }
  } finally {
    await engine.stop();
  }
  return failed === 0 ? 0 : 1;
}

/** Labels that are watched and the model does not have would be missed without a word. */
function warnOfUnknown(model: InstalledModel, settings: TaggingSettings): void {
  for (const { name, suggestions } of resolveWatched(model.labels, settings).unknown) {
    const hint =
      suggestions.length > 0 ? `; it has ${suggestions.map((near) => `"${near}"`).join(', ')}` : '';
    process.stderr.write(`soundpost: ${model.manifest.id} does not know the label "${name}"${hint}\n`);
  }
}

function print(
  { json, stdout }: CommandContext,
  file: string,
  model: string,
  durationSeconds: number,
  windows: readonly { window: RecordingWindow; tags: Tag[] }[],
  withName: boolean,
): void {
  if (json) {
    const shown = windows.map(({ window, tags }) => ({
      start_s: window.startSeconds,
      end_s: window.endSeconds,
      tags,
    }));
    stdout.write(`${JSON.stringify({ file, model, duration_s: durationSeconds, windows: shown })}\n`);
    return;
  }
  if (withName) stdout.write(`${file}\n`);
  const times = windows.map(({ window }) => [clock(window.startSeconds, 1), clock(window.endSeconds, 1)]);
  const timesWidth = Math.max(...times.map(([from = '', to = '']) => from.length + to.length + 4));
  const width = Math.max(20, terminalWidth(process.stdout) - timesWidth);
  const rows = windows.flatMap(({ tags }, index) => {
    const lines = flow(
      tags.map(({ label, score }) => `${label} ${score.toFixed(2)}`),
      width,
    );
    return lines.map((line, part) => (part === 0 ? [...times[index]!, line] : ['', '', line]));
  });
  stdout.write(table([['FROM', 'TO', 'TAGS'], ...rows]));
  if (withName) stdout.write('\n');
}

/** A number above 0 from the command line, or `fallback` where none was given. Throws SoundpostError `usage`. */
export function positive(
  flag: string,
  text: string | boolean | undefined,
  fallback = NaN,
  fits: (value: number) => boolean = Number.isFinite,
): number {
  if (text === undefined) return fallback;
  const value = Number(text);
  if (typeof text === 'string' && text.trim() !== '' && value > 0 && fits(value)) return value;
  throw new SoundpostError(
    'usage',
    `${flag} ${String(text)}: must be a ${fits === Number.isInteger ? 'whole ' : ''}number above 0`,
  );
}
