import { ROOM } from './related-labels.js';
import type { PlacedSound } from './scene.js';

/** An event that has ended; times are seconds since the beginning of the scene. */
export interface HeardEvent {
  label: string;
  onset: number;
  offset: number;
  peak: number;
  /** From the sound's beginning to the message; only known in real time. */
  arrived: number | null;
}

/** What became of a sound. */
export interface Outcome {
  sound: PlacedSound;
  /** How many events of the name that was the surest; 0: it was missed. */
  events: number;
  label: string | null;
  /** Found minus true, seconds; null where it was missed or is several events. */
  onsetError: number | null;
  durationError: number | null;
  /** Seconds from its onset to the arrival of the first message that names it; null where that is not known. */
  delay: number | null;
}

export interface FalseEvent {
  event: HeardEvent;
  /** The sound that it was a wrong name for; null where there was none: it came of noise alone. */
  sound: PlacedSound | null;
}

export interface Matched {
  outcomes: Outcome[];
  falseEvents: FalseEvent[];
}

/** An event so far away from a sound has nothing to do with it. */
const NEAR_SECONDS = 2;

/**
 * Says for each sound whether it was found and with what times, and for each event whether any sound explains it.
 *
 * A sound that the model does not claim to know is not asked for, but it explains what it is called by right or by
 * kind.
 *
 * @param claimed the labels of a sound that the model claims to know
 */
export function matchEvents(
  sounds: readonly PlacedSound[],
  events: readonly HeardEvent[],
  claimed: (sound: PlacedSound) => readonly string[],
): Matched {
  const perSound = new Map<PlacedSound, HeardEvent[]>();
  const falseEvents: FalseEvent[] = [];
  for (const event of events) {
    const near = sounds
      .filter((sound) => distance(sound, event) <= NEAR_SECONDS)
      .sort((a, b) => farness(a, event) - farness(b, event));
    const right = near.find((sound) => claimed(sound).includes(event.label));
    if (right !== undefined) perSound.set(right, [...(perSound.get(right) ?? []), event]);
    else if (!ROOM.includes(event.label) && !near.some((sound) => explains(sound, event.label))) {
      falseEvents.push({ event, sound: near[0] ?? null });
    }
  }
  const outcomes = sounds
    .filter((sound) => claimed(sound).length > 0)
    .map((sound) => outcomeOf(sound, perSound.get(sound) ?? []));
  return { outcomes, falseEvents };
}

function explains({ recording }: PlacedSound, label: string): boolean {
  return recording.labels.includes(label) || recording.related.includes(label);
}

/** Seconds between a sound and an event; 0 where they overlap. */
function distance(sound: PlacedSound, event: HeardEvent): number {
  return Math.max(0, event.onset - sound.offset, sound.onset - event.offset);
}

/** An event is of the sound that it overlaps, and of two of those of the one that begins nearer. */
function farness(sound: PlacedSound, event: HeardEvent): number {
  return distance(sound, event) * 1000 + Math.abs(sound.onset - event.onset);
}

function outcomeOf(sound: PlacedSound, events: readonly HeardEvent[]): Outcome {
  const [surest] = [...events].sort((a, b) => b.peak - a.peak);
  if (surest === undefined) {
    return { sound, events: 0, label: null, onsetError: null, durationError: null, delay: null };
  }
  const same = events.filter(({ label }) => label === surest.label);
  const arrivals = events.flatMap(({ arrived }) => (arrived === null ? [] : [arrived - sound.onset]));
  const isOne = same.length === 1;
  return {
    sound,
    events: same.length,
    label: surest.label,
    onsetError: isOne ? surest.onset - sound.onset : null,
    durationError: isOne ? surest.offset - surest.onset - (sound.offset - sound.onset) : null,
    delay: arrivals.length === 0 ? null : Math.min(...arrivals),
  };
}
