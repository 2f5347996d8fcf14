import type { SocReading } from '../../telemetry/soc.js';

/** A reading of the chip, `t_s` seconds after the run began. */
export interface SensorPoint {
  t_s: number;
  temperature_c: number | null;
  frequency_mhz: number | null;
}

/** At the start and at the end of a stretch of time, and the greatest in between; null where there is no sensor. */
export interface Course {
  start: number | null;
  end: number | null;
  peak: number | null;
}

/** What the sensors said during a stretch of time. */
export interface SensorSpan {
  temperature_c: Course;
  /** With the lowest: a chip that is throttled runs slower. */
  frequency_mhz: Course & { lowest: number | null };
  /** The firmware slowed the cores down at some time; null where it does not tell. */
  throttled: boolean | null;
  under_voltage: boolean | null;
}

export interface SensorLog {
  /** Seconds since the log was made. */
  seconds(): number;
  /** Reads the sensors now. */
  read(): Promise<SocReading>;
  /** What was read from `sinceSeconds` on. */
  span(sinceSeconds: number): SensorSpan;
  /** Everything, thinned out to at most `most` points. */
  points(most?: number): SensorPoint[];
  stop(): Promise<void>;
}

/** Reads the sensors every `intervalMs` until it is stopped. */
export function startSensorLog(options: {
  readSoc: () => Promise<SocReading>;
  intervalMs?: number;
  now?: () => number;
}): SensorLog {
  const { readSoc, intervalMs = 1000, now = () => performance.now() } = options;
  const began = now();
  const readings: (SocReading & { t_s: number })[] = [];
  const seconds = () => (now() - began) / 1000;
  const read = async () => {
    const reading = await readSoc();
    readings.push({ t_s: seconds(), ...reading });
    return reading;
  };
  let pending: Promise<unknown> | null = null;
  const timer = setInterval(() => {
    pending ??= read().finally(() => (pending = null));
  }, intervalMs);
  return {
    seconds,
    read,
    span: (since) => spanOf(readings.filter(({ t_s }) => t_s >= since)),
    points: (most = 1500) =>
      thinOut(readings, most).map(({ t_s, temperature_c, frequency_mhz }) => ({
        t_s: Math.round(t_s * 10) / 10,
        temperature_c,
        frequency_mhz,
      })),
    async stop() {
      clearInterval(timer);
      await pending;
    },
  };
}

/** The readings of a stretch of time as one. */
export function spanOf(readings: readonly SocReading[]): SensorSpan {
  const frequencies = readings.flatMap(({ frequency_mhz: mhz }) => (mhz === null ? [] : [mhz]));
  const any = (key: 'throttled' | 'under_voltage') => {
    const known = readings.map((reading) => reading[key]).filter((value) => value !== null);
    return known.length === 0 ? null : known.includes(true);
  };
  return {
    temperature_c: courseOf(readings.map(({ temperature_c }) => temperature_c)),
    frequency_mhz: {
      ...courseOf(frequencies),
      lowest: frequencies.length === 0 ? null : Math.min(...frequencies),
    },
    throttled: any('throttled'),
    under_voltage: any('under_voltage'),
  };
}

function courseOf(values: readonly (number | null)[]): Course {
  const known = values.filter((value) => value !== null);
  const [start = null, end = null] = [known[0], known.at(-1)];
  return { start, end, peak: known.length === 0 ? null : Math.max(...known) };
}

/** Every n-th, and the last one. */
function thinOut<T>(all: readonly T[], most: number): T[] {
  const step = Math.max(1, Math.ceil(all.length / most));
  return all.filter((_, index) => index % step === 0 || index === all.length - 1);
}
