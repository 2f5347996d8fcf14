import {
  bareRaspberryPi4,
  cooledRaspberryPi5,
  defaults,
  noisy,
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
const byAmbient = (seconds: number) => `${hotAfternoon(seconds)} °C`;
const day = { settings: defaults, hours: 24, sensor: noisy(1) };
const steps = {
  ...day,
  ambientC: hotAfternoon,
  segment: byAmbient,
  steady: (seconds: number) => seconds % (8 * HOUR) >= HOUR,
};

/** A sensor that is silent for 10 minutes of every hour and shows nonsense once in 2 minutes. */
const faulty: Scenario['sensor'] = (celsius, seconds, random) => {
  if (seconds % HOUR >= 1800 && seconds % HOUR < 2400) return null;
  if (seconds % 120 === 0) return [-40, 1000, 0, 110, NaN][Math.floor(random() * 5)]!;
  return noisy(1)(celsius, seconds, random);
};

/** What inference costs is in seconds of all cores: a light network a hundredth, a heavy one most of a second. */
export const scenarios: Record<string, Scenario> = {
  'Pi 4 bare, heavy network, 1 Hz': {
    ...steps,
    plant: bareRaspberryPi4,
    requestedHz: 1,
    inferenceSeconds: 0.8,
  },
  'Pi 4 bare, 20 Hz wished, 5 Hz possible': {
    ...steps,
    plant: bareRaspberryPi4,
    requestedHz: 20,
    inferenceSeconds: 0.2,
  },
  'Pi 4 bare, heavy network, faulty sensor': {
    ...steps,
    plant: bareRaspberryPi4,
    requestedHz: 1,
    inferenceSeconds: 0.8,
    sensor: faulty,
  },
  'Pi 5 with cooler, heavy network, 4 Hz': {
    ...steps,
    plant: cooledRaspberryPi5,
    requestedHz: 4,
    inferenceSeconds: 0.3,
  },
  'Pi 5 with cooler, faulty sensor': {
    ...steps,
    plant: cooledRaspberryPi5,
    requestedHz: 4,
    inferenceSeconds: 0.3,
    sensor: faulty,
  },
  'slow board (10 min), heavy network': {
    ...steps,
    plant: { ...bareRaspberryPi4, timeConstant: 600 },
    requestedHz: 1,
    inferenceSeconds: 0.8,
  },
  'Pi 4 bare, light network (mn04), 1 Hz': {
    ...steps,
    plant: bareRaspberryPi4,
    requestedHz: 1,
    inferenceSeconds: 0.01,
  },
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
