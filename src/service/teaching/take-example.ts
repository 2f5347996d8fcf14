import { randomUUID } from 'node:crypto';
import { decodeFile } from '../../audio/decode.js';
import type { Clips } from '../../clips/clips.js';
import { SoundpostError } from '../../common/errors.js';
import { aroundLoudest, roomDbfs, standsOut } from '../../learning/around-loudest.js';
import { epochMs } from '../../mqtt/contract.js';
import { MOST_EXAMPLE_SECONDS, MOST_SECONDS_AGO, type LearnInput } from '../../mqtt/learn-specs.js';
import { meantSource } from '../which-source.js';
import type { GivenExample } from './begun.js';
import { embedExample, type Embed } from './embed-example.js';
import type { HeardMinute } from './heard.js';

type Request = LearnInput<'learn/example'> & { name: string };

/** Whoever says “that was it” says it after the sound, and has to walk to the button. */
const LAST_SECONDS = 10;
/** Nobody knows to the second how long ago something was. */
const ABOUT_SECONDS = 4;
/** So much of the room is taken with the sound. */
const MARGIN_SECONDS = 2;

/** What has begun so shortly before somebody said “that was it” is not what they meant, unless there is nothing else. */
const JUST_BEGUN_SECONDS = 0.5;

/**
 * The sound in which the loudest moment of `given` lies, see `aroundLoudest`; where that has only just begun when the
 * sound ends, and so cannot be whole, the one before it, if anything there stands out.
 * @returns samples from, to
 */
export function soundMeant(
  samples: Float32Array,
  sampleRate: number,
  room: number | null,
  given: { from: number; to: number },
): { from: number; to: number } {
  const loudest = aroundLoudest(samples, sampleRate, room, given);
  const hasJustBegun =
    loudest.to >= samples.length && loudest.to - loudest.from < JUST_BEGUN_SECONDS * sampleRate;
  if (room === null || !hasJustBegun || loudest.from <= given.from) return loudest;
  const before = { from: given.from, to: loudest.from };
  return standsOut(samples, sampleRate, room, before)
    ? aroundLoudest(samples, sampleRate, room, before)
    : loudest;
}

/** Takes an example of what was heard, or of a clip. */
export interface ExampleTaker {
  /**
   * @param request.name the label's
   * @param called what messages call the example, as the beginning of a sentence
   * Throws SoundpostError `learn_not_heard`, `learn_silent`, `learn_too_short`, `source_unknown`, `source_required`,
   * `invalid_request`, and what `fromClip` and the model say.
   */
  take(request: Request, called: string, seed: number): Promise<GivenExample>;
  /** Throws SoundpostError `clip_unknown`, `ffmpeg_missing`, and what else reading a file may. */
  fromClip(id: string, called: string, seed: number): Promise<GivenExample>;
}

export function createExampleTaker(options: {
  heard: Pick<HeardMinute, 'between'>;
  sources: readonly string[];
  embed: Embed;
  clips: Pick<Clips, 'enabled' | 'get' | 'started' | 'ended'>;
  now?: () => number;
}): ExampleTaker {
  const { heard, sources, embed, clips, now = Date.now } = options;

  /** Where the example is to be looked for. */
  function rangeOf({ seconds_ago: ago, from, to }: Request): {
    fromMs: number;
    toMs: number;
    isGiven: boolean;
  } {
    if (from !== undefined && to !== undefined) {
      const range = { fromMs: epochMs(from), toMs: epochMs(to), isGiven: true };
      const seconds = (range.toMs - range.fromMs) / 1000;
      if (seconds > 0 && seconds <= MOST_EXAMPLE_SECONDS) return range;
      throw new SoundpostError(
        'invalid_request',
        `From ${from} to ${to} are ${seconds} s; an example has to be longer than 0 s and at most ${MOST_EXAMPLE_SECONDS} s.`,
      );
    }
    const about = now() - (ago ?? 0) * 1000;
    if (ago === undefined) return { fromMs: about - LAST_SECONDS * 1000, toMs: about, isGiven: false };
    return { fromMs: about - ABOUT_SECONDS * 1000, toMs: about + ABOUT_SECONDS * 1000, isGiven: false };
  }

  async function take(request: Request, called: string, seed: number): Promise<GivenExample> {
    if (request.clip !== undefined) return fromClip(request.clip, called, seed);
    const source = meantSource(request.source, { names: sources, fit: sources, what: 'sources' })!;
    const range = rangeOf(request);
    const all = heard.between(source, -Infinity, Infinity);
    const found = heard.between(source, range.fromMs, range.toMs);
    if (all === null || found === null) {
      throw new SoundpostError(
        'learn_not_heard',
        `Nothing was heard at that time, or it is not kept any more: what is kept is the last ${MOST_SECONDS_AGO} s since learn/begin, while the sound comes and listening is not paused.`,
      );
    }
    const room = roomDbfs(all.samples, all.sampleRate);
    const { sampleRate } = all;
    const begin = Math.round(((found.startMs - all.startMs) * sampleRate) / 1000);
    const given = { from: begin, to: Math.min(all.samples.length, begin + found.samples.length) };
    // What began before the last seconds is taken whole.
    const near = range.isGiven ? given : soundMeant(all.samples, sampleRate, room, given);
    // A machine that runs all the time is no longer an example than others.
    near.to = Math.min(near.to, near.from + MOST_EXAMPLE_SECONDS * sampleRate);
    const from = Math.max(0, near.from - MARGIN_SECONDS * sampleRate);
    const piece = {
      startMs: all.startMs + (from * 1000) / sampleRate,
      samples: all.samples.subarray(from, near.to + MARGIN_SECONDS * sampleRate),
    };
    const made = await embedExample(embed, piece.samples, sampleRate, {
      within: { from: near.from - from, to: near.to - from },
      room,
      name: called,
      seed,
    });
    const fromMs = piece.startMs + made.part.fromSeconds * 1000;
    const toMs = piece.startMs + made.part.toSeconds * 1000;
    const clip = clipOf({ source, label: request.name, fromMs, toMs });
    return {
      ...made,
      name: called,
      origin:
        clip === null ? { kind: 'heard', source, from_ms: fromMs, to_ms: toMs } : { kind: 'clip', clip },
      span: { fromMs, toMs },
    };
  }

  /** Where the sound of events is kept, that of an example is as well. Null: it is not. */
  function clipOf(of: { source: string; label: string; fromMs: number; toMs: number }): string | null {
    if (!clips.enabled) return null;
    const { source, label, fromMs, toMs } = of;
    const id = `learn-${randomUUID()}`;
    const clip = clips.started({ id, source, label, mid: null, group: null, startedMs: fromMs, peak: 1 });
    if (clip === null) return null;
    return clips.ended({ id, source, endedMs: toMs, peak: 1 });
  }

  async function fromClip(id: string, called: string, seed: number): Promise<GivenExample> {
    const found = await clips.get(id);
    if (found === null) {
      throw new SoundpostError(
        'clip_unknown',
        `There is no clip "${id}": it was not kept (speech, a full disk), is still being made, or has been deleted.`,
      );
    }
    const { samples, sampleRate } = await decodeFile(found.path);
    const made = await embedExample(embed, samples, sampleRate, { room: null, name: called, seed });
    const startMs = epochMs(found.clip.clip_started_at);
    const { fromSeconds, toSeconds } = made.part;
    return {
      ...made,
      name: called,
      origin: { kind: 'clip', clip: id },
      span: { fromMs: startMs + fromSeconds * 1000, toMs: startMs + toSeconds * 1000 },
    };
  }

  return { take, fromClip };
}
