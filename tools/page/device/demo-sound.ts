import { readFileSync } from 'node:fs';
import { projectPath } from '../../../test/support/shared.js';

/** A sound of the demo recording, in seconds from its beginning. */
export interface DemoEvent {
  label: string;
  onset: number;
  offset: number;
}

export interface DemoSound {
  samples: Int16Array;
  sampleRateHz: number;
  seconds: number;
  events: readonly DemoEvent[];
}

const SAMPLE_BYTES = 2;

/** The demo recording with what is in it; mono, 16 bits. */
export function readDemoSound(): DemoSound {
  const file = readFileSync(projectPath('models', 'demo', 'day-at-home.wav'));
  const at = file.indexOf('data', 12, 'latin1') + 8;
  // Copied, since the samples need not begin at an even byte of the file.
  const bytes = Uint8Array.prototype.slice.call(file, at, at + file.readUInt32LE(at - 4));
  const samples = new Int16Array(bytes.buffer, bytes.byteOffset, Math.floor(bytes.length / SAMPLE_BYTES));
  const sampleRateHz = file.readUInt32LE(24);
  const { events } = JSON.parse(readFileSync(projectPath('models', 'demo', 'day-at-home.json'), 'utf8')) as {
    events: DemoEvent[];
  };
  return { samples, sampleRateHz, seconds: samples.length / sampleRateHz, events };
}
