import { EventEmitter, on } from 'node:events';
import type { MqttClient } from 'mqtt';
import { messageOf } from '../../src/common/errors.js';
import { contract, type TagsPayload } from '../../src/mqtt/contract.js';
import { createTopics } from '../../src/mqtt/topics.js';
import { cpuPerProcess, readProcessTree, type ProcessUsage } from '../../src/bench/process-tree.js';
import type { ServiceChild } from '../../src/bench/service-child.js';
import { median, percentile } from '../../src/bench/statistics.js';
import { DEVICE, underService, watchRun, type RunOptions } from './under-service.js';

/** An entry of `audio.sources`. */
export interface BenchSource {
  name: string;
  [key: string]: unknown;
}

export interface SourcesRunOptions extends RunOptions {
  /** `inference.window_seconds`. */
  windowSeconds: number;
  /** At least one; with one nothing is told that a service with one source does not tell. */
  sources: readonly BenchSource[];
  /** How long is left to caches, the compiler and the memory allocator to settle once windows are full. */
  settleSeconds: number;
  seconds: number;
  /** `inference.idle_below_dbfs`; null: the model is always run. */
  idleBelowDbfs: number | null;
}

/** The processes of a service: its own, the one with the model, the decoders of its streams, and those that watch. */
export const PARTS = ['service', 'inference', 'ffmpeg', 'others'] as const;
export type Part = (typeof PARTS)[number];

export interface PartUsage {
  /** In the measured time. */
  cpuMs: number;
  /** The median of several readings; with what it shares with others counted in full, and by its share. */
  rssMb: number | null;
  pssMb: number | null;
}

export interface SourceWindows {
  name: string;
  answered: number;
  /** Of those answered, as silence and without a run. */
  idle: number;
  /** Windows that should have been answered and were not: gaps in their numbers, and what the time says is missing. */
  lost: number;
  /** From the arrival of the last sample to the hand-over of the result. */
  latencyMs: { p50: number; p95: number };
}

export interface SourcesRun {
  seconds: number;
  windows: number;
  sources: SourceWindows[];
  parts: Record<Part, PartUsage>;
}

const START_TIMEOUT_MS = 120_000;
const MEGABYTE = 1e6;
const MEMORY_READINGS = 5;

/**
 * Starts the service with these sources, waits until it has settled, and measures its processes from the outside for
 * a number of hops.
 * @throws SoundpostError `bench_service` with the service's last words when it ends, stays silent or cannot be stopped.
 */
export function runSources(options: SourcesRunOptions): Promise<SourcesRun> {
  const { idleBelowDbfs, sources } = options;
  const settings = {
    AUDIO_SOURCES: JSON.stringify(sources),
    INFERENCE_WINDOW_SECONDS: String(options.windowSeconds),
    ...(idleBelowDbfs !== null && { INFERENCE_IDLE_BELOW_DBFS: String(idleBelowDbfs) }),
  };
  const names = sources.map(({ name }) => name).join(', ');
  return underService(options, settings, names, (client, child) => measure(client, child, options));
}

/** The windows of one source as they are told of. */
interface Count {
  name: string;
  seen: number;
  /** Of the measured time. */
  measured: Pick<TagsPayload, 'seq' | 'latency_ms' | 'idle'>[];
  /** The number of the last window before. */
  seqBefore: number;
}

async function measure(
  client: MqttClient,
  child: ServiceChild,
  options: SourcesRunOptions,
): Promise<SourcesRun> {
  const { windowSeconds, settleSeconds, rateHz, seconds } = options;
  const { pid } = child;
  const topics = createTopics('soundpost', DEVICE);
  const counts = new Map<string, Count>();
  for (const { name } of options.sources) {
    const topic =
      options.sources.length === 1 ? topics.of('tags') : topics.of('source/tags', { source: name });
    counts.set(topic, { name, seen: 0, measured: [], seqBefore: 0 });
  }
  const all = [...counts.values()];
  const news = new EventEmitter();
  const beginAt = Math.ceil((windowSeconds + settleSeconds) * rateHz);
  const endAt = beginAt + Math.ceil(seconds * rateHz);
  const budgetMs = START_TIMEOUT_MS + 2000 * (windowSeconds + settleSeconds + seconds);
  const watch = watchRun(child, options.signal, budgetMs);
  const { signal } = watch;
  client.on('message', (topic, payload) => {
    try {
      news.emit('tags', topic, contract.tags.schema.parse(JSON.parse(payload.toString())));
    } catch (error) {
      watch.fail(`what it published on ${topic} is not right: ${messageOf(error)}`);
    }
  });
  const memory: ProcessUsage[][] = [];
  let reading: NodeJS.Timeout | undefined;
  let begin: { tree: ProcessUsage[]; atMs: number } | undefined;
  try {
    await client.subscribeAsync([...counts.keys()]);
    for await (const [topic, tags] of on(news, 'tags', { signal }) as AsyncIterable<[string, TagsPayload]>) {
      const count = counts.get(topic)!;
      if (tags.model !== options.modelId) continue;
      count.seen += 1;
      if (begin === undefined) count.seqBefore = tags.seq;
      else count.measured.push(tags);
      const least = Math.min(...all.map(({ seen }) => seen));
      if (begin === undefined && least >= beginAt) {
        begin = { tree: readProcessTree(pid), atMs: performance.now() };
        reading = setInterval(() => memory.push(readProcessTree(pid)), (1000 * seconds) / MEMORY_READINGS);
      }
      if (begin === undefined || least < endAt) continue;
      const tree = readProcessTree(pid);
      const elapsed = (performance.now() - begin.atMs) / 1000;
      return {
        seconds: elapsed,
        windows: all.reduce((sum, { measured }) => sum + measured.length, 0),
        sources: all.map((one) => windowsOf(one, elapsed * rateHz)),
        parts: partsOf(pid, begin.tree, tree, [...memory, tree]),
      };
    }
    throw new Error('it published nothing more');
  } catch (error) {
    // An abort hides its reason in the cause.
    throw signal.aborted ? signal.reason : error;
  } finally {
    watch.over();
    clearInterval(reading);
  }
}

/** @param due how many windows the measured time has room for */
function windowsOf({ name, measured, seqBefore }: Count, due: number): SourceWindows {
  const latencies = measured.map((tags) => tags.latency_ms);
  const gaps = (measured.at(-1)?.seq ?? seqBefore) - seqBefore - measured.length;
  // Where the measured time begins and ends in a hop is chance: a window more or less is nothing.
  const missing = Math.max(0, Math.floor(due) - 1 - measured.length - gaps);
  return {
    name,
    answered: measured.length,
    idle: measured.filter(({ idle }) => idle === true).length,
    lost: gaps + missing,
    latencyMs: { p50: percentile(latencies, 50), p95: percentile(latencies, 95) },
  };
}

function partOf({ pid, command }: Pick<ProcessUsage, 'pid' | 'command'>, servicePid: number): Part {
  if (pid === servicePid) return 'service';
  if (command.startsWith('soundpost inference')) return 'inference';
  return /^(\S*\/)?ffmpeg /.test(command) ? 'ffmpeg' : 'others';
}

function partsOf(
  servicePid: number,
  before: readonly ProcessUsage[],
  after: readonly ProcessUsage[],
  memory: readonly (readonly ProcessUsage[])[],
): Record<Part, PartUsage> {
  const cpu = cpuPerProcess(before, after);
  const usage = (part: Part): PartUsage => {
    const isOfPart = (process: Pick<ProcessUsage, 'pid' | 'command'>) => partOf(process, servicePid) === part;
    const megabytes = (key: 'rssBytes' | 'pssBytes'): number | null => {
      const sums = memory.map((tree) => {
        const values = tree.filter(isOfPart).map((process) => process[key]);
        return values.reduce<number>((sum, value) => sum + (value ?? NaN), 0) / MEGABYTE;
      });
      const middle = median(sums);
      return Number.isNaN(middle) ? null : middle;
    };
    return {
      cpuMs: cpu.filter(isOfPart).reduce((sum, { cpuMs }) => sum + cpuMs, 0),
      rssMb: megabytes('rssBytes'),
      pssMb: megabytes('pssBytes'),
    };
  };
  return Object.fromEntries(PARTS.map((part) => [part, usage(part)])) as Record<Part, PartUsage>;
}
