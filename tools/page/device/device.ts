import { randomUUID } from 'node:crypto';
import { SoundpostError } from '../../../src/common/errors.js';
import type { Logger } from '../../../src/common/log.js';
import { createThresholdCommands } from '../../../src/service/commands/suggest-thresholds.js';
import { createHistoryCommands } from '../../../src/history/commands.js';
import { openHistory } from '../../../src/history/history.js';
import { commandTable, type ServiceControl } from '../../../src/mqtt/command-table.js';
import { createCommandRouter } from '../../../src/mqtt/commands.js';
import type { EventPayload, LogPayload, TelemetryPayload } from '../../../src/mqtt/contract.js';
import { createTopics } from '../../../src/mqtt/topics.js';
import { slugOf } from '../../../src/tagging/slug.js';
import { builtPageFolder } from '../../../src/web/page-folder.js';
import { createWeb, type Web, type WebOptions } from '../../../src/web/web.js';
import { createRandom } from '../../../test/support/random.js';
import { createDemoClips } from './clips.js';
import { createDemoLearning } from './learn.js';
import { createScriptedControl, firstState, type DeviceState, type Names } from './control.js';
import { readDemoSound, type DemoSound } from './demo-sound.js';
import { writePast } from './past.js';
import { talliedOf } from './tallied.js';
import { levelAt, scoresAt, type WatchedItem } from './scores.js';
import { createDemoSpectrogram } from './spectrogram.js';

/*
 * A device that hears the demo recording going round, with a past, for trying the page: the page's server, the commands
 * and the history are the real ones, the network's answers, the clips and the readings are made up.
 */

const COLUMNS_MS = 200;
const SECOND_MS = 1000;

const plainNames: Names = {
  device: 'Attic',
  bundled: 'Soundpost home (94 sounds, frame by frame, bundled)',
  small: 'EfficientAT mn04_as',
  large: 'EfficientAT mn10_as',
};
const plainWatched: readonly WatchedItem[] = [
  { name: 'Dog', labels: ['Dog'], isGroup: false, threshold: 0.43 },
  { name: 'Speech', labels: ['Speech'], isGroup: false, threshold: 0.31 },
  { name: 'Doorbell', labels: ['Doorbell'], isGroup: false, threshold: 0.4 },
  { name: 'Baby cry, infant cry', labels: ['Baby cry, infant cry'], isGroup: false, threshold: 0.37 },
  { name: 'Alarm', labels: ['Smoke detector, smoke alarm', 'Siren'], isGroup: true, threshold: 0.4 },
];

/** Names that would do harm in a page that took them for markup. */
const script = '<script>window.harm=1</script>';
const image = '"><img src=x onerror="window.harm=1">';
const hostileNames: Names = {
  device: `Attic ${image}`,
  bundled: `Model ${image}`,
  small: `Small ${script}`,
  large: "Large ' onmouseover='window.harm=1",
};
const hostileWatched: readonly WatchedItem[] = [
  { name: `Dog ${image}`, labels: [`Dog ${image}`], isGroup: false, threshold: 0.43 },
  { name: `Group ${script}`, labels: ['Doorbell', `Bell ${image}`], isGroup: true, threshold: 0.4 },
  { name: 'javascript:window.harm=1', labels: ['Speech'], isGroup: false, threshold: 0.3 },
];

export interface ScriptedDeviceOptions {
  dataDir: string;
  log: Logger;
  /** Default `main` alone. */
  sources?: readonly string[];
  pastDays?: number;
  clips?: boolean;
  /** Labels, groups, models and messages have names that try to be markup. */
  hostile?: boolean;
  /** Whether the sounds of the recording start events; else only `hear` does, and nothing comes in between. */
  ownEvents?: boolean;
  /** How long an installation takes. */
  pullMs?: number;
  telemetrySeconds?: number;
  seed?: number;
  web?: Partial<Pick<WebOptions, 'host' | 'port' | 'password' | 'hosts' | 'proxies'>>;
}

export interface ScriptedDevice {
  readonly url: string;
  readonly port: number;
  readonly web: Web;
  readonly state: DeviceState;
  readonly watched: readonly WatchedItem[];
  /** Requests that were carried out: the command, and what was sent with it. */
  readonly requests: readonly { command: string; input: Record<string, unknown> }[];
  readonly restarts: number;
  /** How many spectrograms are being looked at. */
  readonly spectrograms: number;
  /** A sound begins and ends at once, for whoever does not want to wait for the recording. */
  hear(name: string): EventPayload;
  log(message: LogPayload): void;
  /** Tells of a change that was made to `state`. */
  changed(): void;
  stop(): Promise<void>;
}

export async function startScriptedDevice(options: ScriptedDeviceOptions): Promise<ScriptedDevice> {
  const { dataDir, log, sources = ['main'], pastDays = 2, hostile = false, pullMs = 6000 } = options;
  const isOnly = sources.length === 1;
  const random = createRandom(options.seed ?? 1);
  const watched = hostile ? hostileWatched : plainWatched;
  const names = hostile ? hostileNames : plainNames;
  const demo = hostile ? renamed(readDemoSound(), watched) : readDemoSound();
  const history = openHistory({ dataDir, days: 60, maxMb: 64, log });
  const clips = options.clips === false ? null : createDemoClips(demo);
  await writePast({
    history,
    clips,
    demo,
    watched,
    sources,
    namesSources: !isOnly,
    days: pastDays,
    nowMs: Date.now(),
    random,
  });
  const state = firstState(sources);
  state.telemetrySeconds = options.telemetrySeconds ?? state.telemetrySeconds;
  const startedMs = Date.now();
  const secondOf = (source: string, nowMs: number): number =>
    ((nowMs - startedMs) / 1000 + 20 + 23 * Math.max(0, sources.indexOf(source))) % demo.seconds;
  const isHeard = (source: string): boolean => state.audio === 'online' && state.paused.get(source) !== true;
  const spectrogram = await createDemoSpectrogram(demo, sources, secondOf, isHeard);
  let restarts = 0;
  const { control, ...documents } = createScriptedControl({
    state,
    sources,
    watched,
    names,
    clipsEnabled: clips !== null,
    pullMs,
    onChange: ({ info }) => tellState(info),
    onRestart: () => void (restarts += 1),
  });
  const requests: { command: string; input: Record<string, unknown> }[] = [];
  const router = createCommandRouter({
    commands: commandTable({
      ...control,
      history: createHistoryCommands(history),
      thresholds: createThresholdCommands({
        history,
        sources: sources.map((name) => ({
          name,
          tally: {
            watched: () => talliedOf(watched, (item) => documents.thresholdOf(item)),
            open: () => null,
          },
          namesLabels: () => true,
        })),
        setThreshold: (...given) => control.setThreshold(...given),
      }),
      clips: clipCommands(),
      learn: createDemoLearning(watched.map(({ name }) => name)),
    }),
    topics: createTopics('soundpost', 'attic'),
    reply: () => undefined,
    log,
  });
  const web = createWeb({
    host: '127.0.0.1',
    port: 0,
    pageFolder: builtPageFolder,
    openApiFile: null,
    execute(command, body) {
      const text = Buffer.from(body).toString('utf8');
      requests.push({ command, input: text === '' ? {} : (JSON.parse(text) as Record<string, unknown>) });
      return router.request(command, body);
    },
    spectrogram: spectrogram.tap,
    ...(clips !== null && { findClip: (id: string) => clips.find(id) }),
    log,
    ...options.web,
  });

  function clipCommands(): ServiceControl['clips'] {
    if (clips === null) {
      // As the service does: there is nothing, and asking for the list of it is no mistake.
      const unknown = () => Promise.reject(new SoundpostError('clip_unknown', 'There is no such clip.'));
      return {
        clip: unknown,
        'clip/list': () => Promise.resolve({ clips: [], cursor: null, total: 0, bytes: 0 }),
        'clip/delete': (what) => ('id' in what ? unknown() : Promise.resolve({ deleted: 0 })),
      };
    }
    return {
      clip: ({ id }) => Promise.resolve({ ...clips.get(id), path: `/nowhere/${id}.flac`, url: null }),
      'clip/list': (input) => Promise.resolve(clips.list(input)),
      'clip/delete': (what) => Promise.resolve(clips.delete(what)),
    };
  }

  function tellState(withInfo: boolean): void {
    web.publish('state', documents.state());
    if (withInfo) web.publish('info', documents.info());
    web.publish('audio/status', state.audio);
    if (!isOnly) for (const source of sources) web.publish('source/audio/status', state.audio, { source });
  }

  /** What is on, by source and name. */
  const on = new Map<string, EventPayload>();
  function tellLabel(source: string, item: WatchedItem, isOn: boolean): void {
    const slug = slugOf(item.name);
    if (isOnly) web.publish('label', isOn ? 'ON' : 'OFF', { slug });
    else web.publish('source/label', isOn ? 'ON' : 'OFF', { source, slug });
  }
  function tellEvent(event: EventPayload): void {
    web.publish('event', event);
    history.event(event);
  }
  function begin(
    source: string,
    item: WatchedItem,
    label: string,
    score: number,
    startMs: number,
  ): EventPayload {
    const event: EventPayload = {
      id: randomUUID(),
      event_type: 'started',
      label,
      mid: null,
      group: item.isGroup ? item.name : null,
      score,
      peak: score,
      started_at: new Date(startMs).toISOString(),
      ended_at: null,
      duration_s: null,
      detected_at: new Date().toISOString(),
      model: state.model,
      ...(!isOnly && { source }),
      late: false,
    };
    tellLabel(source, item, true);
    tellEvent(event);
    return event;
  }
  function end(
    source: string,
    item: WatchedItem,
    event: EventPayload,
    endMs: number,
    second: number,
  ): EventPayload {
    const ended: EventPayload = {
      ...event,
      event_type: 'ended',
      ended_at: new Date(endMs).toISOString(),
      duration_s: (endMs - Date.parse(event.started_at)) / 1000,
      detected_at: new Date().toISOString(),
    };
    tellLabel(source, item, false);
    clips?.add(ended, source, second);
    tellEvent(ended);
    return ended;
  }

  let seq = 0;
  function hearSecond(source: string, nowMs: number): void {
    const second = secondOf(source, nowMs);
    const scores = scoresAt(demo, second, random);
    const tags = scores.slice(0, 12).map((tag) => ({ ...tag, mid: null }));
    const { dbfs, peakDbfs } = levelAt(demo, second);
    const ts = new Date(nowMs).toISOString();
    const payload = {
      ts,
      seq,
      model: state.model,
      window: { start: new Date(nowMs - 5000).toISOString(), end: ts },
      tags,
      now: tags.slice(0, 3),
      level_dbfs: dbfs,
      latency_ms: 20 + 10 * random(),
    };
    if (isOnly) web.publish('tags', payload);
    else web.publish('source/tags', payload, { source });
    if (seq % 5 === 0) {
      const level = { ts, dbfs, peak_dbfs: peakDbfs };
      if (isOnly) web.publish('level', level);
      else web.publish('source/level', level, { source });
    }
    const highest = new Map<string, number>();
    for (const item of watched) {
      const best = scores.find(({ label }) => item.labels.includes(label));
      if (best === undefined) continue;
      highest.set(item.name, best.score);
      const key = `${source}\n${item.name}`;
      const event = on.get(key);
      const threshold = documents.thresholdOf(item);
      if (options.ownEvents === false) continue;
      if (event === undefined && best.score >= threshold) {
        on.set(key, begin(source, item, best.label, best.score, nowMs - 500));
      } else if (event !== undefined && best.score < threshold * 0.7) {
        on.delete(key);
        const onset = demo.events.find(({ label }) => label === event.label)?.onset ?? 0;
        end(source, item, event, nowMs - 500, onset);
      }
    }
    history.scores({ tsMs: Math.floor(nowMs / 60_000) * 60_000, source, scores: highest });
  }

  let toldMs = -Infinity;
  function tellTelemetry(nowMs: number): void {
    if (nowMs - toldMs < state.telemetrySeconds * 1000 - 50) return;
    toldMs = nowMs;
    web.publish('telemetry', telemetry(nowMs));
  }
  const telemetry = (nowMs: number): TelemetryPayload => {
    const p50 = 22 + 6 * random();
    return {
      ts: new Date(nowMs).toISOString(),
      interval_seconds: state.telemetrySeconds,
      uptime_s: Math.round((nowMs - startedMs) / 1000) + 7200,
      model: state.model,
      rate_hz: {
        requested: state.rateHz,
        effective: state.rateHz,
        measured: state.rateHz * (0.97 + 0.04 * random()),
      },
      latency_ms: {
        count: 10,
        mean: p50,
        p50,
        p95: p50 * 1.7,
        p99: p50 * 2,
        max: p50 * 2.2,
        features_p50: 2.5,
        inference_p50: p50 * 0.7,
        queue_p50: 1,
        publish_p50: 0.5,
      },
      windows: { processed: seq, dropped: Math.floor(seq / 200) },
      soc: {
        temperature_c: 58 + 5 * random(),
        frequency_mhz: 1800,
        throttled: false,
        under_voltage: false,
        throttled_since_boot: false,
      },
      host: {
        cpu_percent: 22,
        load_1m: 0.6,
        memory_rss_mb: 180,
        memory_available_mb: 2900,
        disk_free_mb: 21_000,
      },
      audio: { overruns: 0, restarts: 0 },
      inference: { restarts: 0 },
      outbox: { queued: 0, dropped: 0 },
    };
  };

  web.publish('status', 'online');
  tellState(true);
  const columns = setInterval(() => spectrogram.step(Date.now()), COLUMNS_MS);
  function everySecond(): void {
    const nowMs = Date.now();
    seq += 1;
    for (const source of sources) if (isHeard(source)) hearSecond(source, nowMs);
    tellTelemetry(nowMs);
  }
  everySecond();
  const seconds = setInterval(everySecond, SECOND_MS);
  const place = await web.start();
  return {
    ...place,
    web,
    state,
    watched,
    requests,
    get restarts() {
      return restarts;
    },
    get spectrograms() {
      return spectrogram.watched;
    },
    hear(name) {
      const item = watched.find((one) => one.name === name)!;
      const sound = demo.events.find(({ label }) => item.labels.includes(label))!;
      const seconds = sound.offset - sound.onset;
      const startMs = Date.now() - 1000 * seconds;
      const source = sources[0]!;
      const tsMs = Math.floor(startMs / 60_000) * 60_000;
      history.scores({ tsMs, source, scores: new Map([[item.name, 0.8]]) });
      const event = begin(source, item, sound.label, 0.8, startMs);
      return end(source, item, event, startMs + 1000 * seconds, sound.onset);
    },
    log: (message) => web.publish('log', message),
    changed: () => tellState(true),
    async stop() {
      clearInterval(columns);
      clearInterval(seconds);
      await web.stop();
      await router.stop();
      await history.close();
    },
  };
}

/** The recording with the first labels of what is watched in place of its own. */
function renamed(demo: DemoSound, watched: readonly WatchedItem[]): DemoSound {
  const names = watched.flatMap(({ labels }) => labels);
  const known = ['Dog', 'Doorbell', 'Bird', 'Speech'];
  const nameOf = (label: string): string => names[known.indexOf(label)] ?? label;
  return { ...demo, events: demo.events.map((event) => ({ ...event, label: nameOf(event.label) })) };
}
