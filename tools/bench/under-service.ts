import { join } from 'node:path';
import type { MqttClient } from 'mqtt';
import { messageOf, SoundpostError } from '../../src/common/errors.js';
import { freePort, startMosquitto } from '../../src/bench/broker-process.js';
import { connectTo, startServiceChild, type ServiceChild } from '../../src/bench/service-child.js';

/** What every run of the service has. */
export interface RunOptions {
  /** The service's command line program. */
  program: string;
  /** A folder of the run's own, for the broker's and the service's files; `data/models` in it may hold models. */
  folder: string;
  modelId: string;
  rateHz: number;
  /** `embedded` is part of the service, and so of what is measured. */
  broker: 'embedded' | 'mosquitto';
  /** Ends the run early: what it has started is stopped, and the promise rejects with the signal's reason. */
  signal: AbortSignal;
}

/** `device.id` of the service that is measured. */
export const DEVICE = 'bench';

/**
 * Starts the service as a user does, measures, and stops it.
 * @param settings further variables, without `SOUNDPOST_`
 * @param what is measured, for people
 * @param measure is given where the page is
 * @param measured called before the service is stopped
 * @throws SoundpostError `bench_service` with the service's last words when it ends, stays silent or cannot be
 * stopped.
 */
export async function underService<T>(
  options: RunOptions,
  settings: Readonly<Record<string, string>>,
  what: string,
  measure: (client: MqttClient, child: ServiceChild, page: URL) => Promise<T>,
  measured: () => void = () => undefined,
): Promise<T> {
  const { folder, program, signal } = options;
  const broker = options.broker === 'mosquitto' ? await startMosquitto(folder) : undefined;
  const port = broker?.port ?? (await freePort());
  const webPort = await freePort();
  const all = { ...commonSettings(options, port, webPort), ...settings };
  const child = startServiceChild({
    program,
    folder,
    settings: Object.fromEntries(Object.entries(all).map(([name, value]) => [`SOUNDPOST_${name}`, value])),
  });
  let client: MqttClient | undefined;
  try {
    client = await connectTo(port, { gone: () => child.gone, signal });
    const result = await measure(client, child, new URL(`http://127.0.0.1:${webPort}`));
    measured();
    if ((await child.stop()) === 'SIGKILL') throw new Error('it does not end');
    return result;
  } catch (error) {
    if (signal.aborted) throw error;
    throw new SoundpostError(
      'bench_service',
      `The run of the service with ${what} failed: ${messageOf(error)}. Its last words:\n${child.lastWords().slice(-12).join('\n')}`,
      { cause: error },
    );
  } finally {
    await client?.endAsync(true);
    await child.stop();
    await broker?.stop();
  }
}

function commonSettings(options: RunOptions, port: number, webPort: number): Record<string, string> {
  return {
    DEVICE_ID: DEVICE,
    DATA_DIR: join(options.folder, 'data'),
    MODEL_ID: options.modelId,
    INFERENCE_RATE_HZ: String(options.rateHz),
    // The rate is what is measured against; a warm desk machine must not lower it.
    THERMAL_ENABLED: 'false',
    // As users have it, but beside others.
    WEB_PORT: String(webPort),
    LOG_FORMAT: 'json',
    ...(options.broker === 'mosquitto'
      ? { MQTT_URL: `mqtt://127.0.0.1:${port}` }
      : { BROKER_PORT: String(port) }),
  };
}

/**
 * A signal that fires when the run is called off, when the service ends, and when `budgetMs` have passed; `fail` fires it
 * for another reason. `over` has to be called in the end.
 */
export function watchRun(
  child: ServiceChild,
  runSignal: AbortSignal,
  budgetMs: number,
): { signal: AbortSignal; fail(message: string): void; over(): void } {
  const abort = new AbortController();
  const fail = (message: string) => abort.abort(new Error(message));
  const timer = setTimeout(() => fail('it published too few results in time'), budgetMs);
  void child.exited.then(() => fail('the service ended'));
  return {
    signal: AbortSignal.any([abort.signal, runSignal]),
    fail,
    over: () => clearTimeout(timer),
  };
}
