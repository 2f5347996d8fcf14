import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Logger } from '../../src/common/log.js';
import type { ClipEvent } from '../../src/clips/cut-clip.js';
import type { ClipSettings } from '../../src/clips/settings.js';

/** Settings as they are by default, but on. */
export const clipSettings: ClipSettings = {
  enabled: true,
  beforeSeconds: 2,
  afterSeconds: 2,
  maxSeconds: 30,
  maxMb: 500,
  days: 14,
  labels: [],
  speech: 'discard',
};

/** The onset of a bark of one source. */
export function bark(id: string, startedMs: number, more: Partial<ClipEvent> = {}): ClipEvent {
  return { id, source: 'main', label: 'Dog', mid: '/m/0bt9lr', group: null, startedMs, peak: 0.8, ...more };
}

/** Whole numbers that tell by a stretch of them where they stand; no two stretches of 3 are alike for a long time. */
export function patternAt(position: number): number {
  return (Math.imul(position + 1, 0x9e3779b1) >>> 16) - 32_768;
}

/** The samples from a position on, as a microphone of 16 bits gives them. */
export function pattern(from: number, count: number): Float32Array {
  return Float32Array.from({ length: count }, (_, index) => patternAt(from + index) / 32_768);
}

/** The code and the message of each warning and error. */
export function warningsOf(into: { code: string | undefined; message: string }[]): Logger {
  const take = (fields: { code?: string }, message: string) => void into.push({ code: fields.code, message });
  return { debug: () => undefined, info: () => undefined, warn: take, error: take };
}

/** Every file below a folder, with what is in it. */
export function filesBelow(folder: string): Map<string, Buffer> {
  const found = new Map<string, Buffer>();
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    found.set(path.slice(folder.length + 1), readFileSync(path));
  }
  return found;
}

/** Stretches of the sound in the forms in which a program may write it. */
function searched(samples: Int16Array): Buffer[] {
  const found: Buffer[] = [];
  for (let from = 0; from + 8 < samples.length; from += 500) {
    const part = samples.slice(from, from + 8);
    const little = Buffer.from(part.buffer);
    found.push(little, Buffer.from(little).swap16());
    found.push(Buffer.from(Float32Array.from(part, (value) => value / 32_767).buffer));
    found.push(Buffer.from(Float32Array.from(part, (value) => value / 32_768).buffer));
    found.push(Buffer.from([...part].join(',')));
  }
  return found;
}

/** What of the sound (int16) is in the files of a folder. */
export function soundIn(folder: string, samples: Int16Array): string[] {
  const needles = searched(samples);
  return [...filesBelow(folder)].flatMap(([name, bytes]) => {
    const signs = ['fLaC', 'RIFF', 'OggS'].filter((sign) => bytes.includes(sign));
    const parts = needles.filter((needle) => bytes.includes(needle)).length;
    return parts > 0 || signs.length > 0 ? [`${name}: ${parts} stretches ${signs.join()}`] : [];
  });
}
