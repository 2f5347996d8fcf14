import type { AudioSource } from '../audio/source.js';
import type { Config } from '../config/schema.js';
import type { Pipeline } from '../inference/pipeline.js';
import { isoTime } from '../mqtt/contract.js';
import type { Link } from '../mqtt/link.js';
import { startEventLoopMonitor } from '../telemetry/event-loop.js';
import { createHostReader } from '../telemetry/host.js';
import type { LatencyRecorder } from '../telemetry/latency.js';
import type { RateMeter } from '../telemetry/rate.js';
import { readSoc } from '../telemetry/soc.js';
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
  pipeline: Pipeline;
  source: AudioSource;
  latency: LatencyRecorder;
  rate: RateMeter;
  /** How many requests were refused because too many came. */
  refusedCommands: () => number;
  onError: (error: unknown) => void;
}): TelemetryLoop {
  const { config, link, state, pipeline, source, latency, rate } = options;
  const { sys_root: sysRoot, proc_root: procRoot, event_loop: measureEventLoop } = config.telemetry;
  let { intervalSeconds } = options;
  const host = createHostReader({ procRoot, dataDir: config.data_dir });
  const eventLoop = measureEventLoop ? startEventLoopMonitor() : null;
  let timer: NodeJS.Timeout | null = null;

  const publish = async () => {
    const pids = [process.pid, ...pipeline.pids, ...(source.pids?.() ?? [])];
    const [soc, machine] = await Promise.all([readSoc({ sysRoot }), host.read(pids)]);
    if (timer === null) return;
    const { processed, dropped, restarts } = pipeline.counters();
    const measured = rate.measure(performance.now());
    link.publish('telemetry', {
      ts: isoTime(Date.now()),
      interval_seconds: intervalSeconds,
      uptime_s: Math.round(process.uptime()),
      model: state.now.model,
      rate_hz: {
        requested: state.now.rate_hz,
        effective: state.now.effective_rate_hz,
        measured: measured === null ? null : Math.round(measured * 1000) / 1000,
      },
      latency_ms: latency.snapshotAndReset(),
      windows: { processed, dropped },
      soc,
      host: machine,
      audio: source.counters(),
      inference: { restarts },
      outbox: link.counters(),
      commands: { refused: options.refusedCommands(), unanswered: link.lostReplies() },
      ...(eventLoop !== null && { event_loop_ms: eventLoop.snapshotAndReset() }),
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
