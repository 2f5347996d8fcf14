import { setTimeout as delay } from 'node:timers/promises';
import { SoundpostError } from '../../../src/common/errors.js';
import type { ServiceControl } from '../../../src/mqtt/command-table.js';
import { SCHEMA_VERSION, type InfoPayload, type StatePayload } from '../../../src/mqtt/contract.js';
import type { WatchedItem } from './scores.js';

/** How strange names may be. */
export interface Names {
  device: string;
  /** Titles of models. */
  bundled: string;
  small: string;
  large: string;
}

export interface DeviceState {
  model: string;
  rateHz: number;
  paused: Map<string, boolean>;
  telemetrySeconds: number;
  microphone: string | null;
  threshold: number | null;
  /** Set one by one, by name. */
  thresholds: Map<string, number>;
  swap: StatePayload['swap'];
  throttle: StatePayload['throttle'];
  audio: 'online' | 'offline';
  installed: Set<string>;
}

export const firstState = (sources: readonly string[]): DeviceState => ({
  model: 'soundpost-home',
  rateHz: 1,
  paused: new Map(sources.map((name) => [name, false])),
  telemetrySeconds: 10,
  microphone: null,
  threshold: null,
  thresholds: new Map(),
  swap: { state: 'idle', model: null, progress: null },
  throttle: { active: false, reason: null },
  audio: 'online',
  installed: new Set(['soundpost-home', 'mn04_as']),
});

const MICROPHONES = ['USB Audio Device: Mono (hw:1,0)', 'Built-in Audio Analog Stereo'];

export interface ScriptedControl {
  /** All but what was heard before, which is no made-up thing. */
  control: Omit<ServiceControl, 'history' | 'clips' | 'thresholds' | 'learn'>;
  info(): InfoPayload;
  state(): StatePayload;
  thresholdOf(item: WatchedItem): number;
}

/** @param onChange `state` has changed, and `info` where it says so */
export function createScriptedControl(options: {
  state: DeviceState;
  sources: readonly string[];
  watched: readonly WatchedItem[];
  names: Names;
  clipsEnabled: boolean;
  pullMs: number;
  onChange: (what: { info: boolean }) => void;
  onRestart: () => void;
}): ScriptedControl {
  const { state, sources, watched, names, pullMs, onChange } = options;
  const models = [
    { id: 'soundpost-home', title: names.bundled, audioset_map: null, bytes: null },
    { id: 'mn04_as', title: names.small, audioset_map: 0.432, bytes: 4_066_513 },
    { id: 'mn10_as', title: names.large, audioset_map: 0.471, bytes: 19_708_753 },
  ];
  const summary = ({ id, title, audioset_map }: (typeof models)[number]) => ({
    id,
    title,
    labels: id === 'soundpost-home' ? 94 : 527,
    audioset_map,
    macs: null,
  });
  const installed = () => models.filter(({ id }) => state.installed.has(id));
  const others = () => models.filter(({ id }) => !state.installed.has(id));
  let pulling: AbortController | null = null;

  const thresholdOf = (item: WatchedItem): number =>
    state.thresholds.get(item.name) ?? state.threshold ?? item.threshold;
  function originOf(item: WatchedItem): NonNullable<InfoPayload['thresholds']>[number]['from'] {
    if (state.thresholds.has(item.name)) return 'thresholds';
    if (state.threshold !== null) return 'threshold';
    return item.isGroup ? 'group' : 'model';
  }
  function changed(what = { info: false }): void {
    onChange(what);
  }
  const chosen = (source: string | undefined): readonly string[] => {
    if (source === undefined) return sources;
    if (!sources.includes(source))
      throw new SoundpostError('source_unknown', `There is no source ${source}.`);
    return [source];
  };
  const isPaused = (): boolean => [...state.paused.values()].every(Boolean);

  function info(): InfoPayload {
    return {
      schema_version: SCHEMA_VERSION,
      version: '0.1.0',
      device: { id: 'attic', name: names.device },
      models: { installed: installed().map(summary), known: others().map(summary) },
      config: { clips: { enabled: options.clipsEnabled }, tagging: { off_fraction: 0.7 } },
      thresholds: watched.flatMap((item) =>
        item.labels.map((label) => ({
          label,
          group: item.isGroup ? item.name : null,
          threshold: thresholdOf(item),
          from: originOf(item),
        })),
      ),
    };
  }

  const control: ScriptedControl['control'] = {
    async setModel(id, signal) {
      if (!state.installed.has(id))
        throw new SoundpostError('model_unknown', `There is no model "${id}" here.`);
      state.swap = { state: 'loading', model: id, progress: null };
      changed();
      await delay(Math.min(800, pullMs), undefined, { signal });
      state.model = id;
      state.swap = { state: 'idle', model: null, progress: null };
      changed({ info: true });
      return { model: id, load_ms: 800 };
    },
    setRate(hz) {
      state.rateHz = hz;
      changed();
      return Promise.resolve({ rate_hz: hz, effective_rate_hz: hz });
    },
    async setPaused(paused, seconds, source) {
      for (const name of chosen(source)) state.paused.set(name, paused);
      changed();
      return Promise.resolve({ paused, ...(seconds !== undefined && { seconds }) });
    },
    setThreshold(value, label) {
      if (label === undefined) state.threshold = value;
      else if (value === null) state.thresholds.delete(label);
      else state.thresholds.set(label, value);
      changed({ info: true });
      return Promise.resolve({ threshold: value, ...(label !== undefined && { label }) });
    },
    setLabels: () => Promise.resolve({ labels: [], unknown: [] }),
    setTelemetryInterval(seconds) {
      state.telemetrySeconds = seconds;
      changed();
      return Promise.resolve({ interval_seconds: seconds });
    },
    inputs: () =>
      Promise.resolve({
        source: 'microphone' as const,
        device: state.microphone,
        devices: MICROPHONES.map((name, index) => ({
          index,
          name,
          host_api: 'ALSA',
          channels: 1 + index,
          sample_rate_hz: 48_000,
          is_default: index === 0,
          in_use: name === (state.microphone ?? MICROPHONES[0]),
        })),
      }),
    setInput(device) {
      state.microphone = device === null ? null : String(device);
      changed();
      return Promise.resolve({ device: state.microphone, name: state.microphone ?? MICROPHONES[0]! });
    },
    restart: options.onRestart,
    info() {
      changed({ info: true });
      return Promise.resolve(info());
    },
    models: () =>
      Promise.resolve({
        installed: installed().map((model) => ({
          ...summary(model),
          bundled: model.id === 'soundpost-home',
        })),
        broken: [],
        available: others().map(({ id, title, audioset_map, bytes }) => ({
          id,
          title,
          family: 'mobilenetv3',
          parameters: null,
          macs: null,
          audioset_map,
          bytes,
          licence: 'MIT',
        })),
      }),
    admitPull: () => Promise.resolve(),
    async pullModel(request, signal) {
      const id = 'id' in request ? request.id : 'from-an-address';
      pulling = new AbortController();
      const either = AbortSignal.any([signal, pulling.signal]);
      try {
        for (const step of ['downloading', 'converting', 'verifying']) {
          for (let part = 0; part <= 10; part += 1) {
            state.swap = { state: step, model: id, progress: part / 10 };
            changed();
            await delay(pullMs / 33, undefined, { signal: either });
          }
        }
        state.installed.add(id);
        return { model: id, installed: true };
      } catch (cause) {
        throw new SoundpostError('aborted', 'The installation was called off.', { cause });
      } finally {
        pulling = null;
        state.swap = { state: 'idle', model: null, progress: null };
        changed({ info: true });
      }
    },
    cancelPull() {
      const model = state.swap.model;
      pulling?.abort();
      return Promise.resolve({ cancelled: pulling !== null, model });
    },
    removeModel(id) {
      state.installed.delete(id);
      changed({ info: true });
      return Promise.resolve({ model: id, removed: true as const });
    },
    health: () =>
      Promise.resolve({
        healthy: state.audio === 'online',
        checks: [
          { name: 'broker', ok: true, detail: 'connected to mqtt://localhost' },
          { name: 'audio', ok: state.audio === 'online', detail: `the last sound came from ${names.device}` },
          { name: 'inference', ok: true, detail: 'the last window took 27 ms' },
        ],
      }),
  };

  return {
    control,
    info,
    thresholdOf,
    state: () => ({
      model: state.model,
      rate_hz: state.rateHz,
      effective_rate_hz: state.throttle.active ? state.rateHz / 2 : state.rateHz,
      paused: isPaused(),
      threshold: state.threshold,
      labels: watched.map(({ name }) => name),
      source: 'microphone',
      audio_device: state.microphone,
      ...(sources.length > 1 && {
        sources: sources.map((name) => ({
          name,
          source: 'microphone' as const,
          audio_device: state.microphone,
          paused: state.paused.get(name) ?? false,
          threshold: state.threshold,
          labels: watched.map((item) => item.name),
          audio: state.audio,
        })),
      }),
      telemetry_interval_seconds: state.telemetrySeconds,
      throttle: state.throttle,
      swap: state.swap,
      stand_in: null,
      learning: [],
    }),
  };
}
