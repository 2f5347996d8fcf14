import { round } from '../common/round.js';
import type { Config } from '../config/schema.js';
import { isoTime, type TelemetryPayload } from '../mqtt/contract.js';
import type { EngineStream } from '../inference/engine.js';
import type { Link } from '../mqtt/link.js';
import { startEventLoopMonitor } from '../telemetry/event-loop.js';
import { createHostReader } from '../telemetry/host.js';
import { readSoc } from '../telemetry/soc.js';
import type { Hearing } from './hearing.js';
import type { Listening } from './listening.js';
import type { StateHolder } from './state.js';

/** Publishes `B/telemetry` every interval. */
export interface TelemetryLoop {
  start(): void;
  /** Changes the interval and publishes at once: the message before was made to last for the old one. */
  setInterval(seconds: number): void;
  stop(): void;
}

export function createTelemetryLoop(options: {
  config: Config;
  intervalSeconds: number;
  link: Link;
  state: StateHolder;
  hearing: Pick<Hearing, 'pipeline' | 'sources' | 'latency'>;
  /** How many requests were refused because too many came. */
  refusedCommands: () => number;
  onError: (error: unknown) => void;
}): TelemetryLoop {
  const { config, link, state, hearing } = options;
  const { pipeline, sources, latency } = hearing;
  const { sys_root: sysRoot, proc_root: procRoot, event_loop: measureEventLoop } = config.telemetry;
  let { intervalSeconds } = options;
  const host = createHostReader({ procRoot, dataDir: config.data_dir });
  const eventLoop = measureEventLoop ? startEventLoopMonitor() : null;
  let timer: NodeJS.Timeout | null = null;

  const publish = async () => {
    const pids = [process.pid, ...pipeline.pids, ...sources.flatMap(({ audio }) => audio.pids?.() ?? [])];
    const [soc, machine] = await Promise.all([readSoc({ sysRoot }), host.read(pids)]);
    if (timer === null) return;
    const { restarts, ...windows } = pipeline.counters();
    const measured = measuredRate(sources, performance.now());
    const each = sources.map(countersOf);
    link.publish('telemetry', {
      ts: isoTime(Date.now()),
      interval_seconds: intervalSeconds,
      uptime_s: Math.round(process.uptime()),
      model: state.now.model,
      rate_hz: {
        requested: state.now.rate_hz,
        effective: state.now.effective_rate_hz,
        measured: measured === null ? null : round(measured, 3),
      },
      latency_ms: latency.snapshotAndReset(),
      windows,
      soc,
      host: machine,
      audio: {
        overruns: sum(each, 'overruns'),
        restarts: sum(each, 'restarts'),
        clipped: sum(each, 'clipped'),
      },
      inference: { restarts, stream: streamOf(pipeline.stream) },
      outbox: link.counters(),
      commands: { refused: options.refusedCommands(), unanswered: link.lostReplies() },
      ...(eventLoop !== null && { event_loop_ms: eventLoop.snapshotAndReset() }),
      ...(sources.length > 1 && {
        sources: Object.fromEntries(sources.map(({ name }, index) => [name, each[index]!])),
      }),
    });
  };

  const publishNow = () => void publish().catch(options.onError);

  return {
    start() {
      // The first reading only begins the interval of the CPU load.
      host.read([]).catch(options.onError);
      timer = setInterval(publishNow, intervalSeconds * 1000);
    },
    setInterval(seconds) {
      intervalSeconds = seconds;
      if (timer === null) return;
      clearInterval(timer);
      timer = setInterval(publishNow, intervalSeconds * 1000);
      publishNow();
    },
    stop() {
      if (timer !== null) clearInterval(timer);
      timer = null;
      eventLoop?.stop();
    },
  };
}

function streamOf(stream: EngineStream | null): TelemetryPayload['inference']['stream'] {
  if (stream === null) return null;
  return {
    grid_s: round(stream.gridSeconds, 4),
    kept_mb: round(stream.keptBytes / 2 ** 20, 1),
    approximate: stream.leftEdge === 'stream',
  };
}

type SourceCounts = NonNullable<TelemetryPayload['sources']>[string];

function countersOf({ windows, audio, clipped }: Listening): SourceCounts {
  return { ...windows.counters(), ...audio.counters(), clipped };
}

function sum(each: readonly SourceCounts[], key: 'overruns' | 'restarts' | 'clipped'): number {
  return each.reduce((total, counts) => total + counts[key], 0);
}

/** Windows a second of a source, Hz: the mean of those that had any; null where none had. */
function measuredRate(sources: readonly Pick<Listening, 'rate'>[], nowMs: number): number | null {
  const rates = sources.flatMap(({ rate }) => rate.measure(nowMs) ?? []);
  return rates.length === 0 ? null : rates.reduce((total, rate) => total + rate, 0) / rates.length;
}
