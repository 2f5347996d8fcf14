import { codeOf, messageOf, SoundpostError } from '../../common/errors.js';
import type { StartEngine } from '../../inference/engine.js';
import { ownWindowSamples } from '../../inference/full-window.js';
import type { InstalledModel } from '../../models/registry.js';
import type { SocReading } from '../../telemetry/soc.js';
import { measureModel } from './measure.js';
import { projectTemperature } from './projection.js';
import { readProcess } from './process-reading.js';
import {
  hopAt,
  judge,
  streamRate,
  type Board,
  type Judged,
  type ModelFigures,
  type Wish,
} from './recommend.js';
import type { BenchMachine } from './model-bench-report.js';
import type { BenchProgress } from './run-model-bench.js';
import { startSensorLog, type SensorLog } from './sensors.js';
import { availableMemory } from './subject.js';

/** What `soundpost recommend --json` prints. */
export interface Recommendation {
  machine: BenchMachine;
  wish: Wish;
  /** The best model that fits; null where none does. */
  recommended: string | null;
  /** Those that fit first, the best first. */
  models: Judged[];
  failed: { id: string; code: string; message: string }[];
  heat: Board['heat'];
  /** What could not be known, for people. */
  unknown: string[];
}

/**
 * Of the whole time, where there is a sensor: one model under full load, to see how warm the board becomes. Where the
 * temperature ends shows only after a minute; four say all that there is.
 */
const HEAT_SHARE = 0.6;
const MOST_HEAT_SECONDS = 240;
/** Of a model's time: clips back to back. The rest is the stream at the wanted rate, which decides. */
const CLIP_SHARE = 0.2;

/**
 * Measures each model at the wanted rate for its share of `seconds`, heats the board with the one that uses most
 * CPU time, and judges them.
 * @throws SoundpostError `aborted` when `signal` is.
 */
export async function recommendModels(options: {
  models: readonly InstalledModel[];
  wish: Wish;
  seconds: number;
  threads: number;
  machine: BenchMachine;
  startEngine: StartEngine;
  readSoc: () => Promise<SocReading>;
  signal: AbortSignal;
  onProgress: (progress: BenchProgress) => void;
}): Promise<Recommendation> {
  const { models, wish, seconds, threads, machine, startEngine, signal, onProgress } = options;
  const memoryMb = (await availableMemory()) / 1e6;
  const sensors = startSensorLog({ readSoc: options.readSoc });
  const measured: { model: InstalledModel; figures: ModelFigures }[] = [];
  const failed: Recommendation['failed'] = [];
  let heat: Board['heat'] = null;
  let heatProblem: string | null = null;
  try {
    const idle = (await sensors.read()).temperature_c;
    const heatSeconds = idle === null ? 0 : Math.min(MOST_HEAT_SECONDS, seconds * HEAT_SHARE);
    const eachSeconds = (seconds - heatSeconds) / models.length;
    const tell = (doneSeconds: number, doing: string) =>
      onProgress({
        fraction: Math.min(1, doneSeconds / seconds),
        secondsLeft: Math.max(0, seconds - doneSeconds),
        doing,
      });
    for (const [index, model] of models.entries()) {
      const { id } = model.manifest;
      try {
        const clipSeconds = eachSeconds * CLIP_SHARE;
        const result = await measureModel(model, {
          startEngine,
          threads,
          clipSeconds,
          streamSeconds: eachSeconds - clipSeconds,
          rateHz: streamRate(wish.rate_hz),
          signal,
          onProgress(stage, fraction) {
            const part = stage === 'load' ? 0 : stage === 'clips' ? 0.2 * fraction : 0.2 + 0.8 * fraction;
            tell(eachSeconds * (index + part), `${id}: ${stage}`);
          },
        });
        const hop = hopAt(result, wish.rate_hz, model.manifest.input.window_seconds);
        if (hop !== null) {
          measured.push({
            model,
            figures: {
              id,
              published_map: model.manifest.metrics.audioset_map ?? null,
              ...hop,
              peak_mb: result.memory_mb.peak,
            },
          });
        }
      } catch (error) {
        if (!signal.aborted) failed.push({ id, code: codeOf(error), message: messageOf(error) });
      }
      if (signal.aborted) throw new SoundpostError('aborted', 'Interrupted: nothing can be recommended.');
    }
    const heaviest = measured.reduce<(typeof measured)[number] | null>(
      (most, next) => (most === null || next.figures.mean_ms > most.figures.mean_ms ? next : most),
      null,
    );
    if (idle !== null && heaviest !== null) {
      const { id } = heaviest.figures;
      try {
        heat = await heatUp(heaviest.model, idle, heatSeconds, sensors, options, (fraction) =>
          tell(seconds - heatSeconds * (1 - fraction), `${id}: heating the board`),
        );
      } catch (error) {
        if (signal.aborted) throw error;
        // What was measured of the models is worth as much without it.
        heatProblem = `${id} failed while it heated the board: ${messageOf(error)}`;
      }
    }
  } finally {
    await sensors.stop();
  }
  const judged = judge(
    measured.map(({ figures }) => figures),
    { memory_available_mb: memoryMb, heat },
    wish,
  );
  return {
    machine,
    wish,
    recommended: judged.find(({ fits }) => fits)?.id ?? null,
    models: judged,
    failed,
    heat,
    unknown: unknowns({ judged, heat, heatProblem, wish, sensors, machine }),
  };
}

/** Full load for a while, and where the temperature would end under it; null where that cannot be told. */
async function heatUp(
  model: InstalledModel,
  idleC: number,
  seconds: number,
  sensors: SensorLog,
  options: { startEngine: StartEngine; threads: number; signal: AbortSignal },
  onProgress: (fraction: number) => void,
): Promise<Board['heat']> {
  const engine = await options.startEngine(model, { threads: options.threads, signal: options.signal });
  try {
    const { input } = model.manifest;
    const windowSamples = ownWindowSamples(input);
    const request = { samples: new Float32Array(windowSamples), reset: true, windowSamples };
    const from = sensors.seconds();
    const cpuBefore = (await readProcess(engine.pid)).cpuMs;
    while (!options.signal.aborted && sensors.seconds() - from < seconds) {
      await engine.infer(request);
      onProgress((sensors.seconds() - from) / seconds);
    }
    if (options.signal.aborted) {
      throw new SoundpostError('aborted', 'Interrupted: nothing can be recommended.');
    }
    const took = sensors.seconds() - from;
    const cpuAfter = (await readProcess(engine.pid)).cpuMs;
    const points = sensors
      .points()
      .filter(({ t_s: t }) => t >= from)
      .flatMap(({ t_s: t, temperature_c: c }) => (c === null ? [] : [{ t_s: t - from, temperature_c: c }]));
    const loadedC = projectTemperature(points);
    if (loadedC === null || cpuBefore === null || cpuAfter === null) return null;
    return { idle_c: idleC, loaded_c: loadedC, loaded_cores: (cpuAfter - cpuBefore) / 1000 / took };
  } finally {
    await engine.stop();
  }
}

function unknowns(found: {
  judged: readonly Judged[];
  heat: Board['heat'];
  heatProblem: string | null;
  wish: Wish;
  sensors: SensorLog;
  machine: BenchMachine;
}): string[] {
  const { judged, heat, heatProblem, wish, sensors, machine } = found;
  const hasSensor = sensors.points().some(({ temperature_c: c }) => c !== null);
  const withoutMap = judged.filter(({ published_map: map }) => map === null).map(({ id }) => id);
  return [
    ...(hasSensor
      ? []
      : [
          'How warm the board becomes: it has no temperature sensor that is known. --max-temp was left aside.',
        ]),
    ...(hasSensor && heat === null
      ? [
          `How warm the board becomes: ${heatProblem ?? 'there were too few readings. Give it more time with --seconds'}.`,
        ]
      : []),
    ...(heat === null
      ? []
      : [
          'How warm the board really becomes: temperatures are projected from about a minute of load in this room. The range is what the readings allow; more --seconds make it narrower, and "npx soundpost soak" shows the real course.',
        ]),
    ...(streamRate(wish.rate_hz) > wish.rate_hz
      ? [
          `What a hop takes at ${wish.rate_hz} Hz: it was measured at ${streamRate(wish.rate_hz)} Hz, and the features were scaled.`,
        ]
      : []),
    ...(withoutMap.length === 0
      ? []
      : [`How good these are on AudioSet: ${withoutMap.join(', ')}. They are ranked behind the others.`]),
    ...(machine.load_before > machine.cores / 2
      ? [
          `How fast the board is when it is quiet: there was other work (load ${machine.load_before.toFixed(1)} on ${machine.cores} cores).`,
        ]
      : []),
    ...(machine.cores === 1
      ? ['What the rest of the service leaves: there is one core for everything.']
      : []),
  ];
}
