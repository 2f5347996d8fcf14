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
