import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { encodeFlac } from '../../../src/clips/flac.js';
import { SoundpostError } from '../../../src/common/errors.js';
import type { Clip as ClipNote, ClipListRequest } from '../../../src/mqtt/clip-specs.js';
import type { Clip } from '../../../src/web/clips.js';
import type { EventPayload } from '../../../src/mqtt/contract.js';
import type { DemoSound } from './demo-sound.js';

const AROUND_SECONDS = 2;

/** Clips of the demo recording, in memory; a file is made when somebody wants it. */
export interface DemoClips {
  /** Keeps the clip of an event that has ended, the sound of which begins at this second of the recording. */
  add(event: EventPayload, source: string, second: number): void;
  get(id: string): ClipNote;
  list(request: ClipListRequest): { clips: ClipNote[]; cursor: string | null; total: number; bytes: number };
  delete(what: { id: string } | { before: string } | { all: true }): { deleted: number };
  find(id: string): Promise<Clip | null>;
}

export function createDemoClips(demo: DemoSound): DemoClips {
  const kept = new Map<string, { note: ClipNote; from: number }>();

  function get(id: string): ClipNote {
    const found = kept.get(id);
    if (found === undefined) throw new SoundpostError('clip_unknown', `There is no clip ${id}.`);
    return found.note;
  }

  return {
    add(event, source, second) {
      const seconds = (event.duration_s ?? 0) + 2 * AROUND_SECONDS;
      const startMs = Date.parse(event.started_at) - AROUND_SECONDS * 1000;
      const samples = Math.floor(seconds * demo.sampleRateHz);
      const id = randomBytes(16).toString('hex');
      const note: ClipNote = {
        id,
        event: event.id,
        label: event.label,
        mid: event.mid,
        group: event.group,
        source,
        peak: event.peak,
        started_at: event.started_at,
        ended_at: event.ended_at,
        clip_started_at: new Date(startMs).toISOString(),
        clip_ended_at: new Date(startMs + seconds * 1000).toISOString(),
        seconds,
        sample_rate_hz: demo.sampleRateHz,
        samples,
        bytes: samples,
      };
      kept.set(id, { note, from: Math.floor((second - AROUND_SECONDS) * demo.sampleRateHz) });
    },
    get,
    list({ since, until, label, source, limit, cursor }) {
      const all = [...kept.values()]
        .map(({ note }) => note)
        .sort((a, b) => b.clip_started_at.localeCompare(a.clip_started_at));
      const first = cursor === undefined ? 0 : Number(cursor.split('-')[0]);
      const fit = all.filter(
        (note) =>
          (since === undefined || Date.parse(note.clip_ended_at) >= Date.parse(since)) &&
          (until === undefined || Date.parse(note.clip_started_at) < Date.parse(until)) &&
          (label === undefined || [note.label, note.group, note.mid].includes(label)) &&
          (source === undefined || note.source === source),
      );
      const clips = fit.slice(first, first + limit);
      return {
        clips,
        cursor: fit.length > first + limit ? `${first + limit}-${clips.at(-1)!.id}` : null,
        total: all.length,
        bytes: all.reduce((sum, { bytes }) => sum + bytes, 0),
      };
    },
    delete(what) {
      if (!('id' in what)) {
        const beforeMs = 'all' in what ? Infinity : Date.parse(what.before);
        const meant = [...kept].filter(([, { note }]) => Date.parse(note.clip_started_at) < beforeMs);
        for (const [id] of meant) kept.delete(id);
        return { deleted: meant.length };
      }
      kept.delete(get(what.id).id);
      return { deleted: 1 };
    },
    async find(id) {
      const found = kept.get(id);
      if (found === undefined) return null;
      const samples = new Int16Array(found.note.samples);
      // The recording goes round.
      for (let at = 0; at < samples.length; at += 1) {
        const place = (found.from + at + demo.samples.length) % demo.samples.length;
        samples[at] = demo.samples[place]!;
      }
      const bytes = await encodeFlac(samples, demo.sampleRateHz);
      return {
        contentType: 'audio/flac',
        fileName: `${id}.flac`,
        bytes: bytes.length,
        read: (start, end) => Readable.from([bytes.subarray(start, end + 1)]),
      };
    },
  };
}
