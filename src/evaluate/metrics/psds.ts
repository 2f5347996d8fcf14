import type { Span } from './event-f1.js';

/*
 * The polyphonic sound detection score. Bilen, Ferroni, Tuveri, Azcarreta and Krstulović, “A framework for the robust
 * evaluation of sound event detection”, ICASSP 2020 (arXiv:1910.08440); its definitions are named in the comments. The
 * numbers are those of the package psds_eval.
 */

/** What counts as found, and what mistakes cost. */
export interface PsdsSettings {
  /** Detection tolerance: the part of a detection that events of its label have to cover (ρ_DTC). */
  dtc: number;
  /** Ground truth intersection: the part of an event that such detections have to cover (ρ_GTC). */
  gtc: number;
  /** Cross-trigger tolerance: the part of a false detection that events of one other label have to cover (ρ_CTTC). */
  cttc: number;
  /** What a cross-trigger costs beside a false alarm (α_CT). */
  alphaCt: number;
  /** What differences between labels cost (α_ST). */
  alphaSt: number;
  /** False alarms per hour up to which the curve is taken (e_max). */
  maxFalseAlarmsPerHour: number;
}

/** The two scenarios of DCASE task 4 since 2021: react fast and at the right time; avoid confusing labels. */
export const PSDS1: PsdsSettings = {
  dtc: 0.7,
  gtc: 0.7,
  cttc: 0.3,
  alphaCt: 0,
  alphaSt: 1,
  maxFalseAlarmsPerHour: 100,
};
export const PSDS2: PsdsSettings = {
  dtc: 0.1,
  gtc: 0.1,
  cttc: 0.3,
  alphaCt: 0.5,
  alphaSt: 1,
  maxFalseAlarmsPerHour: 100,
};

/** A sound of a label, by the label's number. */
export interface LabelledSpan extends Span {
  label: number;
}

/** What detections with one setting of the thresholds came to. */
export interface OperatingPoint {
  /** Found events of each label. */
  truePositives: number[];
  /** False detections of each label. */
  falsePositives: number[];
  /** False detections of one label on events of another: `detected × labels + event`. */
  crossTriggers: Map<number, number>;
}

/** The score, and the curve whose area it is. */
export interface Psds {
  value: number;
  /** False alarms per hour, and the effective part of events found: a step holds until the next one. */
  curve: { falseAlarmsPerHour: number; found: number }[];
}

const SECONDS_PER_HOUR = 3600;

/** Takes recordings one by one, so that nothing of them has to be kept. */
export interface PsdsCounter {
  readonly points: readonly OperatingPoint[];
  /** Once for each recording. */
  addRecording(events: readonly LabelledSpan[], durationSeconds: number): void;
  /** Once for each recording and each operating point. Detections of one label do not overlap. A label without events is left out of the score. */
  addDetections(
    point: number,
    detected: readonly LabelledSpan[],
    events: readonly LabelledSpan[],
    durationSeconds: number,
  ): void;
  score(): Psds;
}

export function createPsdsCounter(labels: number, points: number, settings: PsdsSettings): PsdsCounter {
  const counted = Array.from({ length: points }, (): OperatingPoint => ({
    truePositives: new Array<number>(labels).fill(0),
    falsePositives: new Array<number>(labels).fill(0),
    crossTriggers: new Map(),
  }));
  const events = new Array<number>(labels).fill(0);
  const eventSeconds = new Array<number>(labels).fill(0);
  let totalSeconds = 0;
  return {
    points: counted,
    addRecording(spans, durationSeconds) {
      totalSeconds += durationSeconds;
      for (const { label, onset, offset } of spans) {
        events[label]! += 1;
        eventSeconds[label]! += offset - onset;
      }
    },
    addDetections(point, detected, spans, durationSeconds) {
      count(counted[point]!, labels, settings, detected, spans, durationSeconds);
    },
    score: () => scoreOf(counted, { events, eventSeconds, totalSeconds }, settings),
  };
}

function common(a: Span, b: Span): number {
  return Math.min(a.offset, b.offset) - Math.max(a.onset, b.onset);
}

/** Counts the detections of one recording. */
function count(
  into: OperatingPoint,
  labels: number,
  { dtc, gtc, cttc }: PsdsSettings,
  detected: readonly LabelledSpan[],
  events: readonly LabelledSpan[],
  durationSeconds: number,
): void {
  const all = { onset: 0, offset: durationSeconds };
  /** Seconds of each event that detections cover which pass the detection tolerance. */
  const covered = new Map<LabelledSpan, number>();
  for (const detection of detected) {
    const length = detection.offset - detection.onset;
    if (!(length > 0)) continue;
    const touched = events.filter((event) => common(detection, event) > 0);
    const own = touched.filter(({ label }) => label === detection.label);
    // Definition 2: a detection that events of its label cover enough is no false one.
    const within = own.reduce((sum, event) => sum + common(detection, event) / length, 0);
    if (own.length > 0 && within >= dtc) {
      for (const event of own) covered.set(event, (covered.get(event) ?? 0) + partOf(detection, event));
      continue;
    }
    if (common(detection, all) > 0) into.falsePositives[detection.label]! += 1;
    // Definition 4: what an event of another label has set off.
    const others = new Map<number, number>();
    for (const event of touched) {
      if (event.label === detection.label) continue;
      others.set(event.label, (others.get(event.label) ?? 0) + common(detection, event) / length);
    }
    for (const [other, part] of others) {
      if (part < cttc) continue;
      const key = detection.label * labels + other;
      into.crossTriggers.set(key, (into.crossTriggers.get(key) ?? 0) + 1);
    }
  }
  // Definition 3: an event that such detections cover enough is found.
  for (const [event, part] of covered) if (part >= gtc) into.truePositives[event.label]! += 1;
}

const partOf = (detection: Span, event: Span) => common(detection, event) / (event.offset - event.onset);

/** The area under the PSD-ROC: equations 6 to 10. */
function scoreOf(
  points: readonly OperatingPoint[],
  known: { events: readonly number[]; eventSeconds: readonly number[]; totalSeconds: number },
  { alphaCt, alphaSt, maxFalseAlarmsPerHour: most }: PsdsSettings,
): Psds {
  const labels = known.events.length;
  const counted = known.events.filter((events) => events > 0).length;
  const perLabel = known.events.flatMap((events, label) => {
    if (events === 0) return [];
    const own = points.map(({ truePositives, falsePositives, crossTriggers }) => {
      let crossed = 0;
      for (let other = 0; other < labels; other += 1) {
        const times = other === label ? undefined : crossTriggers.get(label * labels + other);
        if (times !== undefined) crossed += (times * SECONDS_PER_HOUR) / known.eventSeconds[other]!;
      }
      const falseAlarms = (falsePositives[label]! * SECONDS_PER_HOUR) / known.totalSeconds;
      const confused = counted > 1 ? (alphaCt * crossed) / (counted - 1) : 0;
      return { at: falseAlarms + confused, found: truePositives[label]! / events };
    });
    return [[{ at: 0, found: 0 }, ...own].sort((a, b) => a.at - b.at)];
  });
  const places = [...new Set(perLabel.flatMap((own) => own.map(({ at }) => at)))].sort((a, b) => a - b);
  // Each label's curve only rises: a setting that finds less at more false alarms is not used.
  const next = new Array<number>(counted).fill(0);
  const reached = new Array<number>(counted).fill(0);
  const curve = places.map((place) => {
    for (const [label, own] of perLabel.entries()) {
      for (; next[label]! < own.length && own[next[label]!]!.at <= place; next[label]! += 1) {
        reached[label] = Math.max(reached[label]!, own[next[label]!]!.found);
      }
    }
    const mean = reached.reduce((sum, found) => sum + found, 0) / counted;
    const variance = reached.reduce((sum, found) => sum + (found - mean) ** 2, 0) / counted;
    return { falseAlarmsPerHour: place, found: Math.max(0, mean - alphaSt * Math.sqrt(variance)) };
  });
  const area = curve.reduce((sum, { falseAlarmsPerHour: from, found }, index) => {
    const to = Math.min(most, curve[index + 1]?.falseAlarmsPerHour ?? most);
    return sum + Math.max(0, to - from) * found;
  }, 0);
  return { value: area / most, curve };
}
