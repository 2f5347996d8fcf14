import type { DecodeOptions } from '../audio/decode.js';
import type { InferenceEngine } from '../inference/engine.js';
import { framesOfRecording } from '../inference/recording-frames.js';
import type { TagEvent } from './tag-event.js';
import { createTagger } from './tagger.js';
import { inMilliseconds } from '../inference/new-frames.js';
import { hopOf } from './hop.js';
import type { TaggingSettings } from './watch.js';

/** A sound in a recording; times are seconds since its beginning. */
export interface RecordedSound {
  /** The watched item: a label or a group. */
  name: string;
  /** The label that was the strongest; for a group its strongest member. */
  label: string;
  mid: string | null;
  group: string | null;
  onsetSeconds: number;
  offsetSeconds: number;
  /** The highest score. */
  peak: number;
}

/**
 * The sounds of a recording in the order of their onsets: what the service would tell of it in `B/event`, with the
 * same settings at the same rate.
 *
 * @param onProgress called with the seconds of sound that have been heard
 *
 * Throws as `framesOfRecording`, and SoundpostError `invalid_tagging`.
 */
export async function soundsOfRecording(
  engine: InferenceEngine,
  path: string,
  options: DecodeOptions & {
    rateHz: number;
    windowSeconds: number | null;
    settings: TaggingSettings;
    onProgress?: (seconds: number) => void;
  },
): Promise<{
  sounds: RecordedSound[];
  durationSeconds: number;
  warnings: string[];
}> {
  let ids = 0;
  const { labels } = engine.model;
  const tagger = createTagger({ labels, settings: options.settings, newId: () => String((ids += 1)) });
  const sounds: RecordedSound[] = [];
  const collect = (events: readonly TagEvent[]) => {
    for (const { event_type: type, label, mid, group, peak, started_at, ended_at } of events) {
      if (type === 'started') continue;
      const times = { onsetSeconds: started_at / 1000, offsetSeconds: ended_at! / 1000 };
      sounds.push({ name: group ?? label, label, mid, group, ...times, peak });
    }
  };

  const recording = framesOfRecording(engine, path, options);
  let step = await recording.next();
  for (; step.done !== true; step = await recording.next()) {
    const { fresh, scores, endSeconds } = step.value;
    options.onProgress?.(endSeconds);
    if (fresh === null) continue;
    const endMs = endSeconds * 1000;
    collect(tagger.hop(hopOf(inMilliseconds(fresh, 0), scores, endMs), endMs));
  }
  const { durationSeconds, warnings } = step.value;
  collect(tagger.close(durationSeconds * 1000));
  for (const sound of sounds) {
    // The last frame may reach beyond the end.
    sound.offsetSeconds = Math.min(sound.offsetSeconds, durationSeconds);
    sound.onsetSeconds = Math.min(sound.onsetSeconds, sound.offsetSeconds);
  }
  sounds.sort((a, b) => a.onsetSeconds - b.onsetSeconds);
  return { sounds, durationSeconds, warnings };
}
