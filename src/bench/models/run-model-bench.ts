import { codeOf, messageOf } from '../../common/errors.js';
import type { StartEngine } from '../../inference/engine.js';
import type { InstalledModel } from '../../models/registry.js';
import type { SocReading } from '../../telemetry/soc.js';
import { measureModel, measureStreamed, type MeasureOptions } from './measure.js';
import type { BenchRow, BenchMachine, ModelBenchReport } from './model-bench-report.js';
import { startSensorLog } from './sensors.js';
import type { Subject } from './subject.js';

/** How the seconds for a model are shared: clips back to back, and then the stream. */
const CLIP_SHARE = 0.5;
/** What a model costs beside its measuring, for the time that is left; learned while the run goes on. */
const FIRST_OVERHEAD_S = 3;

export interface BenchProgress {
  /** 0 … 1 of the whole run. */
  fraction: number;
  secondsLeft: number;
  /** What is done now: `mn10_as, 2 threads: clips`. */
  doing: string;
}

export interface BenchStreaming {
  /** Starts engines that stream wherever that is possible, however much it saves. */
  startEngine: StartEngine;
  /** Why the network of a model is no stream; null where that is not known. */
  reasonOf: (id: string) => Promise<string | null>;
  /** Removes what was made for the model before, which is as large as that itself. */
  forget: () => Promise<void>;
}

/**
 * Measures one model after the other, with each number of threads. A model that fails is a row with the reason;
 * when `signal` is aborted the report holds what was measured until then. Never rejects because of a model.
 */
export async function runModelBench(options: {
  subjects: readonly Subject[];
  threads: readonly number[];
  /** For each model and number of threads, after its warm-up. */
  seconds: number;
  rateHz: number;
  machine: BenchMachine;
  startEngine: StartEngine;
  /** Networks that can be streams are measured as such, too; not where it is left out. */
  streaming?: BenchStreaming;
  readSoc: () => Promise<SocReading>;
  signal: AbortSignal;
  onProgress: (progress: BenchProgress) => void;
  onRow: (row: BenchRow) => void;
}): Promise<ModelBenchReport> {
  const { subjects, threads, seconds, rateHz, machine, startEngine, signal } = options;
  const startedAt = new Date();
  const rows: BenchRow[] = [];
  const sensors = startSensorLog({ readSoc: options.readSoc });
  const total = subjects.length * threads.length;
  let overheadS = FIRST_OVERHEAD_S;

  const report = (label: string, fractionOfRow: number) => {
    const planned = seconds + overheadS;
    const left = (total - rows.length - fractionOfRow) * planned;
    options.onProgress({
      fraction: (rows.length + fractionOfRow) / total,
      secondsLeft: Math.max(0, left),
      doing: label,
    });
  };

  async function measureRow(subject: Subject, count: number, makeReady: ReturnType<Subject['prepare']>) {
    const { facts } = subject;
    const label = `${facts.id}${threads.length > 1 ? `, ${count} thread${count === 1 ? '' : 's'}` : ''}`;
    const begun = sensors.seconds();
    let from = begun;
    report(`${label}: ${facts.synthetic ? 'making the network' : 'loading'}`, 0);
    let row: BenchRow = {
      ...facts,
      threads: count,
      file_bytes: null,
      from_s: from,
      to_s: from,
      interrupted: false,
      sensors: null,
      result: null,
      streamed: null,
      error: null,
    };
    try {
      const { model, bytes } = await makeReady;
      // What it takes to make a network warms the board too, and is not what the model does.
      from = sensors.seconds();
      await sensors.read();
      const { parameters, macs, input } = model.manifest;
      row = {
        ...row,
        file_bytes: bytes,
        parameters: facts.parameters ?? parameters,
        macs: facts.macs ?? macs,
        window_s: input.window_seconds,
      };
      const clipSeconds = seconds * CLIP_SHARE;
      const measuring: MeasureOptions = {
        startEngine,
        threads: count,
        clipSeconds,
        streamSeconds: seconds - clipSeconds,
        rateHz,
        signal,
        onProgress(stage, fraction) {
          const done = stage === 'load' ? 0 : stage === 'clips' ? 0 : CLIP_SHARE;
          const part = stage === 'clips' ? CLIP_SHARE : stage === 'stream' ? 1 - CLIP_SHARE : 0;
          report(
            `${label}: ${stage === 'load' ? 'loading' : stage}`,
            ((done + part * fraction) * seconds) / (seconds + overheadS),
          );
        },
      };
      row = { ...row, result: await measureModel(model, measuring) };
      report(`${label}: as a stream`, seconds / (seconds + overheadS));
      const streamed = await asStream(model, measuring, options.streaming);
      row = { ...row, streamed, interrupted: signal.aborted };
    } catch (error) {
      row = {
        ...row,
        interrupted: signal.aborted,
        error: { code: signal.aborted ? 'aborted' : codeOf(error), message: messageOf(error) },
      };
    }
    await sensors.read();
    row = { ...row, from_s: from, to_s: sensors.seconds(), sensors: sensors.span(from) };
    const overhead = row.to_s - begun - seconds;
    overheadS = rows.length === 0 ? Math.max(0, overhead) : (2 * overheadS + Math.max(0, overhead)) / 3;
    // Interrupted before it said anything, it has nothing to say.
    if (row.result === null && signal.aborted) return;
    rows.push(row);
    options.onRow(row);
  }

  const isOver = () => signal.aborted;
  try {
    for (const subject of subjects) {
      if (isOver()) break;
      let ready: ReturnType<Subject['prepare']> | undefined;
      try {
        for (const count of threads) {
          if (isOver()) break;
          // Once for all numbers of threads; a rejection is each row's.
          ready ??= subject.prepare(signal);
          ready.catch(() => undefined);
          await measureRow(subject, count, ready);
        }
      } finally {
        await subject.release();
      }
    }
  } finally {
    await sensors.stop();
  }
  return {
    schema: 1,
    started_at: startedAt.toISOString(),
    finished_at: new Date().toISOString(),
    interrupted: signal.aborted,
    settings: { seconds, rate_hz: rateHz, threads },
    machine,
    rows,
    sensors: sensors.points(),
  };
}

/** What the model costs as a stream, or why it is none. Never rejects: what was measured before stays. */
async function asStream(
  model: InstalledModel,
  measuring: MeasureOptions,
  streaming: BenchStreaming | undefined,
): Promise<BenchRow['streamed']> {
  const isOver = (): boolean => measuring.signal.aborted;
  if (streaming === undefined || isOver()) return null;
  const { startEngine, reasonOf, forget } = streaming;
  const { id } = model.manifest;
  try {
    const measured = await measureStreamed(model, { ...measuring, startEngine, onProgress: () => undefined });
    return measured ?? { reason: (await reasonOf(id)) ?? 'it is none on this machine' };
  } catch (error) {
    return isOver() ? null : { reason: messageOf(error) };
  } finally {
    await forget().catch(() => undefined);
  }
}
