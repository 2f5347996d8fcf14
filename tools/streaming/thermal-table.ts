import {
  bareRaspberryPi4,
  defaults,
  noisy,
  raspberryPiFirmware,
  simulate,
  type Scenario,
} from '../../test/support/thermal-plant.js';
import type { Measured } from './measure-network.js';

/*
 * Which networks a bare Raspberry Pi 4 holds at 1 Hz, as a whole and as streams, by the simulation of docs/heat.md: what
 * was measured on another processor is scaled by one factor.
 */

/**
 * All cores of a Raspberry Pi 4 together, beside one core of the processor that measured. Calculated: four Cortex-A72 at
 * 1.5 GHz with four multiply-accumulates in a cycle are 24 · 10⁹ in a second, of which half is assumed to be reached; one
 * core of the processor of docs/streaming.md does 91 · 10⁹ with Cnn14 (21 · 10⁹ in 0.231 s).
 */
export const RASPBERRY_PI_4 = 7.6;

const RATE_HZ = 1;
/** Of the air, °C. */
const AIR = [20, 45] as const;
/** A rate is held where the mean of a day is no lower than that share of it. */
const HELD = 0.98;

/** What a form of a network comes to on the simulated board. */
export interface PiFigures {
  /** Seconds of all cores that a hop takes. */
  hopSeconds: number;
  /** The mean rate of a day, for each temperature of the air. */
  meanHz: Record<(typeof AIR)[number], number>;
}

/** @param cpuMs of a hop, on the processor that measured */
export function onPi4(cpuMs: number, factor = RASPBERRY_PI_4): PiFigures {
  const hopSeconds = (cpuMs * factor) / 1000;
  const meanIn = (celsius: number): number => {
    const scenario: Scenario = {
      plant: bareRaspberryPi4,
      settings: defaults,
      requestedHz: RATE_HZ,
      inferenceSeconds: hopSeconds,
      hours: 24,
      ambientC: () => celsius,
      sensor: noisy(1),
      firmware: raspberryPiFirmware,
      // From the cold start on it takes an hour to settle.
      segment: (seconds) => (seconds < 3600 ? null : 'day'),
    };
    return simulate(scenario).segments.get('day')!.meanHz;
  };
  return { hopSeconds, meanHz: { 20: meanIn(20), 45: meanIn(45) } };
}

/** A table in Markdown: each network in both forms. */
export function thermalTable(measured: readonly Measured[], factor = RASPBERRY_PI_4): string[] {
  const rows = measured.flatMap(({ name, figures }) => {
    if (figures === null) return [];
    const forms = [figures.wholeMs, figures.streamMs].map((ms) => onPi4(ms, factor));
    const cells = forms.map(({ hopSeconds }) => hopSeconds.toFixed(2));
    for (const celsius of AIR) cells.push(...forms.map(({ meanHz }) => rateText(meanHz[celsius])));
    const ms = [figures.wholeMs, figures.streamMs].map((value) => value.toFixed(1));
    return [[name, ...ms, ...cells]];
  });
  const head = ['network', 'whole ms', 'stream ms', 'Pi 4: whole s', 'stream s'];
  for (const celsius of AIR) head.push(`${celsius} °C: whole Hz`, 'stream Hz');
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map((_, at) => (at === 0 ? '---' : '---:'))), ...rows.map(line)];
}

function rateText(hz: number): string {
  return hz >= HELD * RATE_HZ ? '**1**' : hz.toFixed(2);
}
