import { BUNDLED_MODEL } from '../../../src/models/bundled.js';
import type { CommandData, CommandName } from '../../../src/mqtt/command-specs.js';
import type { OutKey, Payload } from '../../../src/mqtt/contract.js';

/*
 * Payloads as a running service has published them, with long lists and the configuration cut short, and the
 * readings of a Raspberry Pi in the telemetry. The tests hold them against the contract.
 */

/** Parameters of topics that have some, for complete addresses. */
export const exampleParameters: Readonly<Record<string, string>> = {
  slug: 'dog',
  command: 'rate/set',
  name: 'rate',
  id: 'mn10_as',
};

export const topicExamples: { readonly [K in OutKey]?: Payload<K> } = {
  status: 'online',
  'audio/status': 'online',
  info: {
    schema_version: 1,
    version: '0.1.0',
    device: { id: 'attic', name: 'Attic' },
    models: {
      installed: [
        {
          id: BUNDLED_MODEL,
          title: 'Soundpost home (94 sounds, frame by frame, bundled)',
          labels: 94,
          audioset_map: null,
          macs: null,
        },
        { id: 'mn04_as', title: 'EfficientAT mn04_as', labels: 527, audioset_map: 0.432, macs: 110643072 },
      ],
      known: [
        { id: 'mn10_as', title: 'EfficientAT mn10_as', labels: 527, audioset_map: 0.471, macs: 541078208 },
      ],
    },
    config: {
      device: { id: 'attic', name: 'Attic' },
      mqtt: {
        url: 'mqtts://broker.example:8883',
        username: 'attic',
        password: '***',
        ca: '',
        cert: '',
        key: '',
        protocol_version: 5,
        base_topic: 'soundpost',
        outbox: { max_mb: 64 },
      },
      inference: { rate_hz: 1, window_seconds: null },
    },
    config_problems: [],
    safe_mode: null,
    thresholds: [
      { label: 'Dog', group: null, threshold: 0.43, from: 'label_set' },
      { label: 'Smoke detector, smoke alarm', group: 'Alarm', threshold: 0.4, from: 'group' },
      { label: 'Siren', group: 'Alarm', threshold: 0.4, from: 'group' },
    ],
  },
  state: {
    model: 'mn04_as',
    rate_hz: 0.5,
    effective_rate_hz: 0.5,
    paused: false,
    threshold: 0.4,
    labels: [],
    source: 'demo',
    audio_device: null,
    telemetry_interval_seconds: 30,
    throttle: { active: false, reason: null },
    swap: { state: 'idle', model: null, progress: null },
    stand_in: null,
  },
  tags: {
    ts: '2026-11-22T21:55:56.727Z',
    seq: 77,
    model: 'mn04_as',
    window: { start: '2026-11-22T21:55:46.700Z', end: '2026-11-22T21:55:56.700Z' },
    tags: [
      { label: 'Computer keyboard', mid: '/m/01m2v', score: 0.7087 },
      { label: 'Typing', mid: '/m/0316dw', score: 0.6792 },
      { label: 'Speech', mid: '/m/09x0r', score: 0.4469 },
    ],
    now: [
      { label: 'Computer keyboard', mid: '/m/01m2v', score: 0.7087 },
      { label: 'Typing', mid: '/m/0316dw', score: 0.6792 },
    ],
    level_dbfs: -36,
    latency_ms: 27.299,
  },
  event: {
    id: '2e84e12f-d04c-4651-99fa-aaf91d0d6946',
    event_type: 'ended',
    label: 'Dog',
    mid: '/m/0bt9lr',
    group: null,
    score: 0.6051,
    peak: 0.713,
    started_at: '2026-11-22T21:55:15.540Z',
    ended_at: '2026-11-22T21:55:17.820Z',
    duration_s: 2.28,
    detected_at: '2026-11-22T21:55:21.512Z',
    model: 'mn04_as',
    late: false,
  },
  label: 'ON',
  level: { ts: '2026-11-22T21:55:55.524Z', dbfs: -28.6, peak_dbfs: -7.8 },
  telemetry: {
    ts: '2026-11-22T21:55:05.506Z',
    interval_seconds: 30,
    uptime_s: 32,
    model: 'mn04_as',
    rate_hz: { requested: 1, effective: 1, measured: 1 },
    latency_ms: {
      count: 29,
      mean: 23.348,
      p50: 19.535,
      p95: 47.807,
      p99: 54.043,
      max: 54.043,
      features_p50: 2.497,
      inference_p50: 13.375,
      queue_p50: 1.321,
      publish_p50: 0.781,
    },
    windows: { processed: 29, dropped: 0 },
    soc: {
      temperature_c: 61.2,
      frequency_mhz: 1800,
      throttled: false,
      under_voltage: false,
      throttled_since_boot: false,
    },
    host: {
      cpu_percent: 30.1,
      load_1m: 2.23,
      memory_rss_mb: 200,
      memory_available_mb: 23573.4,
      disk_free_mb: 79134.3,
    },
    audio: { overruns: 0, restarts: 0 },
    inference: { restarts: 0 },
    outbox: { queued: 0, dropped: 0 },
  },
  install: {
    installed_version: 'not installed',
    latest_version: 'mn10_as_mAP_471',
    title: 'EfficientAT mn10_as',
    release_summary:
      'mAP 0.471 on AudioSet; 20 MB to download; 541 million multiplications for 10 s of sound; licence: code MIT, weights not stated',
    release_url: 'https://github.com/fschmid56/EfficientAT/releases/tag/v0.0.1',
    in_progress: true,
    update_percentage: 42,
  },
  log: {
    ts: '2026-05-04T10:15:30.250Z',
    level: 'warn',
    message: 'mn04_as does not know the watched label "Dogs"; it has "Dog"',
    code: 'label_unknown',
  },
  response: { status: 'ok', data: { rate_hz: 0.5, effective_rate_hz: 0.5 }, transaction: 'a-1' },
};

/** `data` of the reply to each command's example request. */
export const replyExamples: { readonly [K in CommandName]?: CommandData<K> } = {
  'model/set': { model: 'mn10_as', load_ms: 270 },
  'rate/set': { rate_hz: 0.5, effective_rate_hz: 0.5 },
  'paused/set': { paused: true },
  pause: { paused: true, seconds: 600 },
  resume: { paused: false },
  'threshold/set': { threshold: 0.3, label: 'Dog' },
  health: {
    healthy: true,
    checks: [
      { name: 'broker', ok: true, detail: 'connected' },
      { name: 'audio', ok: true, detail: 'sound arrives' },
      { name: 'inference', ok: true, detail: 'mn04_as answers' },
    ],
  },
  'model/remove': { model: 'mn10_as', removed: true },
  'model/pull': { model: 'mn10_as', installed: true },
  'model/cancel': { cancelled: true, model: 'mn10_as' },
  'model/list': {
    installed: [
      {
        id: BUNDLED_MODEL,
        title: 'Soundpost home (94 sounds, frame by frame, bundled)',
        labels: 94,
        audioset_map: null,
        macs: null,
        bundled: true,
      },
      {
        id: 'mn04_as',
        title: 'EfficientAT mn04 (AudioSet)',
        labels: 527,
        audioset_map: 0.432,
        macs: 110000000,
        bundled: false,
      },
    ],
    broken: [],
    available: [
      {
        id: 'mn10_as',
        title: 'EfficientAT mn10_as',
        family: 'mobilenetv3',
        parameters: 4876831,
        macs: 541078208,
        audioset_map: 0.471,
        bytes: 19605108,
        licence: 'code MIT, weights not stated',
      },
    ],
  },
  info: topicExamples.info!,
  'labels/set': {
    labels: [
      { name: 'Dog', slug: 'dog', group: false },
      { name: 'Alarm', slug: 'alarm', group: true },
    ],
    unknown: [],
  },
  'telemetry/set': { interval_seconds: 60 },
  'audio/list': {
    source: 'microphone',
    device: 'USB Audio',
    devices: [
      {
        index: 1,
        name: 'USB Audio Device: - (hw:1,0)',
        host_api: 'ALSA',
        channels: 1,
        sample_rate_hz: 48000,
        is_default: false,
        in_use: true,
      },
    ],
  },
  'audio/set': { device: 'USB Audio', name: 'USB Audio Device: - (hw:1,0)' },
  restart: { restarting: true },
};
