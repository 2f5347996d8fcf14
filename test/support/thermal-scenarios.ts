import {
  bareRaspberryPi4,
  cooledRaspberryPi5,
  defaults,
  noisy,
  raspberryPiFirmware,
  simulate,
  type Figures,
  type Scenario,
} from './thermal-plant.js';

/*
 * The days that docs/heat.md shows: `node dist/test/support/thermal-scenarios.js` prints its table.
 */

const HOUR = 3600;
/** 20 °C, from 8 to 16 o'clock 45 °C. */
const hotAfternoon = (seconds: number) => (seconds >= 8 * HOUR && seconds < 16 * HOUR ? 45 : 20);
const day = {
  settings: defaults,
  hours: 24,
  sensor: noisy(1),
  ambientC: hotAfternoon,
  segment: (seconds: number) => `${hotAfternoon(seconds)} °C`,
  steady: (seconds: number) => seconds % (8 * HOUR) >= HOUR,
};
/** What inference costs is in seconds of all cores: a light network a hundredth, a heavy one most of a second. */
const pi4 = {
  ...day,
  plant: bareRaspberryPi4,
  firmware: raspberryPiFirmware,
  requestedHz: 1,
  inferenceSeconds: 0.8,
};
const pi5 = {
  ...day,
  plant: cooledRaspberryPi5,
  firmware: raspberryPiFirmware,
  requestedHz: 4,
  inferenceSeconds: 0.3,
};
/** Boards that are as hot, whose firmware neither tells nor slows down. */
const untold = { firmware: () => ({ clock: 1, flags: null }) };

type Sensor = NonNullable<Scenario['sensor']>;
const minuteOf = (seconds: number) => (seconds % HOUR) / 60;
/** The first 10 minutes after each change of the ambient. */
const atStep = (seconds: number) => seconds >= 8 * HOUR && seconds % (8 * HOUR) < 600;

/** Silent for 10 minutes of every hour, nonsense once in 2 minutes. */
const faulty: Sensor = (celsius, seconds, random) => {
  if (minuteOf(seconds) >= 30 && minuteOf(seconds) < 40) return null;
  if (seconds % 120 === 0) return [-40, 1000, 0, 110, NaN][Math.floor(random() * 5)]!;
  return noisy(1)(celsius, seconds, random);
};

/** Silent for the first so many minutes of every hour, and for 10 as the ambient changes. */
const silent =
  (minutes: number): Sensor =>
  (celsius, seconds, random) =>
    atStep(seconds) || minuteOf(seconds) < minutes ? null : noisy(1)(celsius, seconds, random);

/** For 10 minutes from each change of the ambient on, and at 4, 12 and 20 o'clock, it says something else. */
const wrong =
  (falsify: (celsius: number) => number): Sensor =>
  (celsius, seconds, random) => {
    const shown = noisy(1)(celsius, seconds, random);
    return seconds >= 4 * HOUR && seconds % (4 * HOUR) < 600 ? falsify(shown) : shown;
  };

/** The firmware reads the same sensor: where that is too low, it sees no heat either. */
function liedTo(celsius: number, seconds: number): ReturnType<typeof raspberryPiFirmware> {
  return raspberryPiFirmware(seconds >= 4 * HOUR && seconds % (4 * HOUR) < 600 ? 0 : celsius);
}

export const scenarios: Record<string, Scenario> = {
  'Pi 4 bare, heavy network, 1 Hz': pi4,
  'Pi 4 bare, 20 Hz wished, 5 Hz possible': { ...pi4, requestedHz: 20, inferenceSeconds: 0.2 },
  'Pi 4 bare, the firmware takes part (limits 78 and 84 °C)': {
    ...pi4,
    settings: { ...defaults, softLimitC: 78, hardLimitC: 84 },
  },
  'Pi 4 bare, faulty sensor': { ...pi4, sensor: faulty },
  'Pi 4 bare, silent as the air becomes hot': { ...pi4, sensor: silent(10) },
  'Pi 4 bare, 0 °C shown as the air becomes hot': { ...pi4, sensor: wrong(() => 0), firmware: liedTo },
  'Pi 4 bare, 20 °C too low as the air becomes hot': {
    ...pi4,
    sensor: wrong((c) => c - 20),
    firmware: liedTo,
  },
  'Pi 4 bare, 35 °C too high as the air becomes hot': { ...pi4, sensor: wrong((c) => c + 35) },
  'board like this Pi 4, no flags, silent as the air becomes hot': { ...pi4, ...untold, sensor: silent(2) },
  'Pi 5 with cooler, heavy network, 4 Hz': pi5,
  'Pi 5 with cooler, faulty sensor': { ...pi5, sensor: faulty },
  'Pi 5 with cooler, silent as the air becomes hot': { ...pi5, sensor: silent(10) },
  // Cool until then, and nothing tells that it is not any more: as hot as this rate makes it, 85.2 °C.
  'Pi 5 with cooler, 0 °C shown as the air becomes hot': {
    ...pi5,
    sensor: wrong(() => 0),
    firmware: liedTo,
    boundC: 85.5,
  },
  'board like this Pi 5, no flags, silent as the air becomes hot': {
    ...pi5,
    ...untold,
    sensor: silent(2),
    boundC: 85.5,
  },
  'slow board (10 min), heavy network': { ...pi4, plant: { ...bareRaspberryPi4, timeConstant: 600 } },
  'Pi 4 bare, light network (mn04), 1 Hz': { ...pi4, inferenceSeconds: 0.01 },
};

export function row(name: string, figures: Figures): string {
  const segments = [...figures.segments].map(
    ([segment, { meanHz, bestHz, meanC }]) =>
      `${segment}: ${meanHz.toFixed(3)} of ${bestHz.toFixed(3)} Hz (${Math.round((100 * meanHz) / bestHz)} %), ${meanC.toFixed(1)} °C`,
  );
  const cells = [name, figures.maxC.toFixed(1), segments.join('; '), String(figures.turnsPerHour)];
  return `| ${cells.join(' | ')} |`;
}

if (process.argv[1]?.endsWith('thermal-scenarios.js')) {
  console.log(
    '| a day | highest °C | mean rate of the best constant one, mean °C | turns in an hour, at most |',
  );
  console.log('| --- | --- | --- | --- |');
  for (const [name, scenario] of Object.entries(scenarios)) console.log(row(name, simulate(scenario)));
}
