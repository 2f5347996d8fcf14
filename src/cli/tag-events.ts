import { round } from '../common/round.js';
import { SoundpostError } from '../common/errors.js';
import type { RecordedSound } from '../tagging/recording-events.js';
import type { CommandContext } from './context.js';
import { clock, table } from './table.js';

/** How `soundpost tag --events` prints the sounds of recordings. */
export interface EventPrinter {
  /** Before the first recording. */
  begin(): void;
  recording(file: string, model: string, durationSeconds: number, sounds: readonly RecordedSound[]): void;
}

/** A form that takes the flag of its name. */
type Form = 'json' | 'csv' | 'audacity' | 'table';

/**
 * The printer that the flags ask for. Throws SoundpostError `usage` where they contradict each other, and where
 * several recordings would have to share a track of Audacity.
 */
export function eventPrinter(
  { json, stdout }: CommandContext,
  files: readonly string[],
  flags: { csv: boolean; audacity: boolean },
): EventPrinter {
  const asked = Object.entries({ json, ...flags }).flatMap(([form, isAsked]) =>
    isAsked ? [form as Form] : [],
  );
  if (asked.length > 1) {
    throw new SoundpostError('usage', `--${asked.join(' and --')} cannot be had together: choose one`);
  }
  const [form = 'table'] = asked;
  if (form === 'audacity' && files.length > 1) {
    throw new SoundpostError('usage', '--audacity is a label track of one recording: name one file');
  }
  const write = (text: string) => void stdout.write(text);
  switch (form) {
    case 'json':
      return { begin: () => undefined, recording: (...all) => write(`${JSON.stringify(asJson(...all))}\n`) };
    case 'csv':
      return {
        begin: () => write('file,onset_s,offset_s,duration_s,label,mid,group,peak\n'),
        recording: (file, _model, _duration, sounds) =>
          write(sounds.map((sound) => csvLine(file, sound)).join('')),
      };
    case 'audacity':
      return {
        begin: () => undefined,
        recording: (_file, _model, _duration, sounds) => write(sounds.map(audacityLine).join('')),
      };
    case 'table':
      return {
        begin: () => undefined,
        recording(file, _model, _duration, sounds) {
          const heading = files.length > 1 ? `${file}\n` : '';
          const end = files.length > 1 ? '\n' : '';
          write(`${heading}${asTable(sounds)}${end}`);
        },
      };
  }
}

function asJson(
  file: string,
  model: string,
  durationSeconds: number,
  sounds: readonly RecordedSound[],
): object {
  return {
    file,
    model,
    duration_s: durationSeconds,
    events: sounds.map(({ label, mid, group, onsetSeconds, offsetSeconds, peak }) => ({
      label,
      mid,
      group,
      onset_s: toMilliseconds(onsetSeconds),
      offset_s: toMilliseconds(offsetSeconds),
      duration_s: toMilliseconds(offsetSeconds - onsetSeconds),
      peak,
    })),
  };
}

/** As RFC 4180 wants it, but for the ends of lines. */
function csvLine(file: string, sound: RecordedSound): string {
  const { label, mid, group, onsetSeconds, offsetSeconds, peak } = sound;
  const times = [onsetSeconds, offsetSeconds, offsetSeconds - onsetSeconds].map((time) => time.toFixed(3));
  const cells = [file, ...times, label, mid ?? '', group ?? '', peak.toFixed(4)];
  return `${cells.map((cell) => (/[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell)).join(',')}\n`;
}

/** A label track: onset, offset and name, a tab between them (Audacity manual, "Importing and Exporting Labels"). */
function audacityLine({ name, onsetSeconds, offsetSeconds, peak }: RecordedSound): string {
  const text = `${name} ${peak.toFixed(2)}`.replace(/[\t\r\n]+/g, ' ');
  return `${onsetSeconds.toFixed(6)}\t${offsetSeconds.toFixed(6)}\t${text}\n`;
}

function asTable(sounds: readonly RecordedSound[]): string {
  if (sounds.length === 0) return 'No sound reached its threshold.\n';
  const rows = sounds.map(({ name, label, group, onsetSeconds, offsetSeconds, peak }) => [
    clock(onsetSeconds, 2),
    clock(offsetSeconds, 2),
    `${(offsetSeconds - onsetSeconds).toFixed(2)} s`,
    peak.toFixed(2),
    group === null ? name : `${name} (${label})`,
  ]);
  return table([['ONSET', 'OFFSET', 'LASTS', 'PEAK', 'SOUND'], ...rows]);
}

function toMilliseconds(seconds: number): number {
  return round(seconds, 3);
}
