import { EventEmitter, on } from 'node:events';
import { join } from 'node:path';
import type { MqttClient } from 'mqtt';
import { freePort, startMosquitto } from '../../src/bench/broker-process.js';
import { connectTo, startServiceChild, type ServiceChild } from '../../src/bench/service-child.js';
import { messageOf, SoundpostError } from '../../src/common/errors.js';
import { contract, epochMs, type EventPayload } from '../../src/mqtt/contract.js';
import { createTopics } from '../../src/mqtt/topics.js';
import { beginningOf, type SeenWindow, type WindowPlan } from './clock.js';
import type { HeardEvent } from './match.js';

interface HearOptions {
  /** The service's command line program. */
  program: string;
  /** A folder of the run's own; `data/models` in it holds the model. */
  folder: string;
  modelId: string;
  plan: WindowPlan;
  /** A WAV file and how long it is. */
  recording: string;
  seconds: number;
  speed: '1' | 'max';
  broker: 'embedded' | 'mosquitto';
  /** More settings, as environment variables of the service. */
  settings: Readonly<Record<string, string>>;
  signal: AbortSignal;
}

const DEVICE = 'bench-events';
const topics = createTopics('soundpost', DEVICE);
const START_TIMEOUT_MS = 90_000;
/** How much slower than real time a busy machine may be. */
const SLOWEST = 3;

/**
 * Has the service hear a recording once and returns the events that a subscriber got, in seconds of the recording.
 * @throws SoundpostError `bench_service` with the service's last words when it ends or does not come to an end; the
 * signal's reason when it fires.
 */
export async function hearRecording(options: HearOptions): Promise<HeardEvent[]> {
  const { folder, signal } = options;
  signal.throwIfAborted();
  const broker = options.broker === 'mosquitto' ? await startMosquitto(folder) : undefined;
  const port = broker?.port ?? (await freePort());
  let client: MqttClient | undefined;
  let child: ServiceChild | undefined;
  try {
    // Nothing is missed where the subscriber is there first; an embedded broker is only there with the service.
    const messages = new EventEmitter();
    if (broker !== undefined) client = await listen(port, messages, { gone: () => false, signal });
    const service = startServiceChild({
      program: options.program,
      folder,
      settings: settings(options, port),
    });
    child = service;
    client ??= await listen(port, messages, { gone: () => service.gone, signal });
    return await collect(messages, service, options);
  } catch (error) {
    if (signal.aborted) throw error;
    throw new SoundpostError(
      'bench_service',
      `The service with ${options.modelId} did not hear the scene out: ${messageOf(error)}. Its last words:\n${(child?.lastWords() ?? []).slice(-12).join('\n')}`,
      { cause: error },
    );
  } finally {
    await client?.endAsync(true);
    await child?.stop();
    await broker?.stop();
  }
}

function settings(options: HearOptions, port: number): Record<string, string> {
  return {
    SOUNDPOST_DEVICE_ID: DEVICE,
    SOUNDPOST_DATA_DIR: join(options.folder, 'data'),
    SOUNDPOST_AUDIO_SOURCE: 'file',
    SOUNDPOST_AUDIO_FILE: options.recording,
    SOUNDPOST_AUDIO_LOOP: 'false',
    SOUNDPOST_AUDIO_SPEED: options.speed,
    SOUNDPOST_MODEL_ID: options.modelId,
    SOUNDPOST_INFERENCE_RATE_HZ: String(options.plan.rateHz),
    SOUNDPOST_THERMAL_ENABLED: 'false',
    SOUNDPOST_HOMEASSISTANT_ENABLED: 'false',
    SOUNDPOST_WEB_ENABLED: 'false',
    SOUNDPOST_LOG_FORMAT: 'json',
    ...(options.broker === 'mosquitto'
      ? { SOUNDPOST_MQTT_URL: `mqtt://127.0.0.1:${port}` }
      : { SOUNDPOST_BROKER_PORT: String(port) }),
    ...options.settings,
  };
}

/** A subscriber that notes at once when a message came. */
async function listen(
  port: number,
  messages: EventEmitter,
  options: Parameters<typeof connectTo>[1],
): Promise<MqttClient> {
  const client = await connectTo(port, options);
  client.on('message', (topic, payload) => messages.emit('message', topic, payload.toString(), Date.now()));
  await client.subscribeAsync([topics.of('tags'), topics.of('event'), topics.of('audio/status')], { qos: 1 });
  return client;
}

async function collect(
  messages: EventEmitter,
  child: ServiceChild,
  options: HearOptions,
): Promise<HeardEvent[]> {
  const windows: SeenWindow[] = [];
  const started = new Map<string, number>();
  const ended = new Map<string, EventPayload>();
  let wasOnline = false;
  let isOver = false;
  const abort = new AbortController();
  const budgetMs = START_TIMEOUT_MS + 1000 * SLOWEST * options.seconds;
  const timer = setTimeout(() => abort.abort(new Error('it took too long')), budgetMs);
  void child.exited.then(() => abort.abort(new Error('it ended')));
  const signal = AbortSignal.any([abort.signal, options.signal]);
  type Message = [string, string, number];
  try {
    for await (const [topic, text, arrivedMs] of on(messages, 'message', {
      signal,
    }) as AsyncIterable<Message>) {
      if (topic === topics.of('audio/status')) {
        // It is retained: an `offline` of the beginning is not the end of the recording.
        wasOnline ||= text === 'online';
        isOver = wasOnline && text === 'offline';
      } else if (topic === topics.of('tags')) {
        const tags = contract.tags.schema.parse(JSON.parse(text));
        if (tags.model !== options.modelId) throw new Error(`it answers with ${tags.model}`);
        windows.push({ seq: tags.seq, endMs: epochMs(tags.window.end) });
      } else {
        const event = contract.event.schema.parse(JSON.parse(text));
        if (event.event_type === 'ended') ended.set(event.id, event);
        else if (!started.has(event.id)) started.set(event.id, arrivedMs);
      }
      if (isOver && [...started.keys()].every((id) => ended.has(id))) break;
    }
  } catch (error) {
    // An abort hides its reason in the cause.
    throw signal.aborted ? signal.reason : error;
  } finally {
    clearTimeout(timer);
  }
  const beginMs = beginningOf(windows, options.plan);
  if (Number.isNaN(beginMs)) throw new Error('it published no window');
  const seconds = (ms: number) => (ms - beginMs) / 1000;
  return [...ended.values()].map((event) => {
    const arrivedMs = started.get(event.id);
    return {
      label: event.label,
      onset: seconds(epochMs(event.started_at)),
      offset: seconds(epochMs(event.ended_at ?? event.started_at)),
      peak: event.peak,
      arrived: options.speed === 'max' || arrivedMs === undefined ? null : seconds(arrivedMs),
    };
  });
}
