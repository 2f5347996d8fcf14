import type { AudioStatus } from '../audio/source.js';
import { messageOf } from '../common/errors.js';
import type { HealthFile, HealthReport } from '../common/health-file.js';
import type { Logger } from '../common/log.js';
import type { Pipeline } from '../inference/pipeline.js';
import type { Link } from '../mqtt/link.js';
import type { StateHolder } from './state.js';

const HEARTBEAT_MS = 5_000;

/** Whether the service does its work, for `soundpost health` and the command `health`. */
export interface Health {
  audio(status: AudioStatus): void;
  report(): HealthReport;
  start(): void;
  stop(): Promise<void>;
}

export function createHealth(options: {
  log: Logger;
  file: HealthFile;
  link: Link;
  pipeline: Pipeline;
  state: StateHolder;
}): Health {
  const { file, link, pipeline, state, log } = options;
  let audio: AudioStatus = { state: 'offline', code: 'starting', reason: 'no sound has come yet' };
  let linkDetail = 'not connected yet';
  let timer: NodeJS.Timeout | null = null;

  const report = (): HealthReport => {
    const checks = [
      {
        name: 'broker',
        ok: link.connected,
        detail: linkDetail,
      },
      {
        name: 'audio',
        ok: audio.state === 'online' || audio.code === 'ended' || state.now.paused,
        detail: audio.state === 'online' ? 'sound arrives' : audio.reason,
      },
      {
        name: 'inference',
        ok: pipeline.ready,
        detail: pipeline.ready ? `${pipeline.model.manifest.id} answers` : 'no model is loaded',
      },
    ];
    return { healthy: checks.every(({ ok }) => ok), checks };
  };

  return {
    audio(status) {
      audio = status;
    },
    report,
    start() {
      link.onStatus((status) => {
        linkDetail = 'reason' in status ? status.reason : status.state;
      });
      let writable = true;
      const beat = () => {
        file.write(report()).then(
          () => (writable = true),
          (error: unknown) => {
            // A full disk is no reason to stop listening.
            const text = `The health file cannot be written (${messageOf(error)}): "npx soundpost health" will call this service dead`;
            if (writable) log.warn({ code: 'health_not_written' }, text);
            writable = false;
          },
        );
      };
      beat();
      timer = setInterval(beat, HEARTBEAT_MS);
    },
    async stop() {
      if (timer !== null) clearInterval(timer);
      timer = null;
      await file.remove().catch(() => undefined);
    },
  };
}
