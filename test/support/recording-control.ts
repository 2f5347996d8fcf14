import type { Clip } from '../../src/mqtt/clip-specs.js';
import type { CommandData, CommandInput, CommandName } from '../../src/mqtt/command-specs.js';
import type { HandlersOf, ServiceControl } from '../../src/mqtt/command-table.js';
import { SCHEMA_VERSION } from '../../src/mqtt/contract.js';

export type RecordingControl = ServiceControl & {
  /** The name of each method that was called, and its arguments, without signals and what was not given at the end. */
  readonly calls: unknown[][];
};

const CLIP: Omit<Clip, 'id'> = {
  event: '2e84e12f-d04c-4651-99fa-aaf91d0d6946',
  label: 'Dog',
  mid: '/m/0bt9lr',
  group: null,
  source: 'main',
  peak: 0.7,
  started_at: '2026-11-22T21:55:15.540Z',
  ended_at: '2026-11-22T21:55:17.820Z',
  clip_started_at: '2026-11-22T21:55:13.540Z',
  clip_ended_at: '2026-11-22T21:55:19.820Z',
  seconds: 6.28,
  sample_rate_hz: 16_000,
  samples: 100_480,
  bytes: 61_000,
};

/** Commands that only remember that they were called, and answer with something of the right form. */
export function createRecordingControl(): RecordingControl {
  const calls: unknown[][] = [];
  const note =
    <Given extends unknown[], Data>(name: string, answer: (...given: Given) => Data) =>
    (...given: Given): Promise<Data> => {
      const told = given.filter((value) => !(value instanceof AbortSignal));
      while (told.length > 0 && told.at(-1) === undefined) told.pop();
      calls.push([name, ...told]);
      return Promise.resolve(answer(...given));
    };
  /** A command that is given its whole request; in what context does not matter. */
  const noteInput = <K extends CommandName>(
    name: K,
    answer: (input: CommandInput<K>) => CommandData<K>,
  ): HandlersOf<K>[K] => {
    const noted = note(name, answer);
    return (input) => noted(input);
  };
  return {
    calls,
    setModel: note('setModel', (id: string) => ({ model: id, load_ms: 12 })),
    setRate: note('setRate', (hz: number) => ({ rate_hz: hz, effective_rate_hz: hz })),
    setPaused: note('setPaused', (paused: boolean, seconds?: number) => ({
      paused,
      ...(seconds !== undefined && { seconds }),
    })),
    setThreshold: note('setThreshold', (value: number | null, label?: string) => ({
      threshold: value,
      ...(label !== undefined && { label }),
    })),
    setLabels: note('setLabels', (labels: readonly unknown[]) => ({
      labels: labels.map((_, index) => ({ name: `Label ${index}`, slug: `label_${index}`, group: false })),
      unknown: [],
    })),
    setTelemetryInterval: note('setTelemetryInterval', (seconds: number) => ({ interval_seconds: seconds })),
    inputs: note('inputs', () => ({ source: 'microphone' as const, device: null, devices: [] })),
    setInput: note('setInput', (device: string | number | null) => ({
      device: device === null ? null : String(device),
      name: 'Microphone',
    })),
    restart: () => void calls.push(['restart']),
    info: note('info', () => ({
      schema_version: SCHEMA_VERSION,
      version: '0.0.0',
      device: { id: 'test', name: 'Test' },
      models: { installed: [], known: [] },
      config: {},
    })),
    models: note('models', () => ({ installed: [], broken: [], available: [] })),
    admitPull: () => Promise.resolve(),
    pullModel: note('pullModel', () => ({ model: 'pulled', installed: true })),
    cancelPull: note('cancelPull', () => ({ cancelled: true, model: 'mn04_as' })),
    removeModel: note('removeModel', (id: string) => ({ model: id, removed: true as const })),
    health: note('health', () => ({ healthy: true, checks: [] })),
    history: {
      history: noteInput('history', () => ({ events: [], cursor: null })),
      'history/scores': noteInput('history/scores', () => ({ step_seconds: 60, points: [] })),
      'history/delete': noteInput('history/delete', () => ({ deleted: true as const, bytes: 0 })),
      'event/judge': noteInput('event/judge', ({ id, right }) => ({ id, label: 'Dog', right })),
    },
    thresholds: {
      'thresholds/suggest': noteInput('thresholds/suggest', () => ({ per_day: 1, days: 7, suggestions: [] })),
      'thresholds/apply': noteInput('thresholds/apply', () => ({ applied: [], left: [] })),
    },
    learn: {
      'learn/begin': noteInput('learn/begin', () => BEGUN),
      'learn/example': noteInput('learn/example', () => ({
        ...{ ...BEGUN, from: null, to: null, seconds: 1, peak_dbfs: -20, clip: null },
      })),
      'learn/finish': noteInput('learn/finish', () => LEARNT),
      'learn/list': noteInput('learn/list', () => ({
        ...{ can_learn: true, why: null, learnt: [], begun: [], background: { kept: true, bytes: 0 } },
      })),
      'learn/remove': noteInput('learn/remove', ({ name }) => ({ name, removed: true as const })),
    },
    clips: {
      clip: noteInput('clip', ({ id }) => ({ ...CLIP, id, path: `/clips/${id}.flac`, url: null })),
      'clip/list': noteInput('clip/list', () => ({ clips: [], cursor: null, total: 0, bytes: 0 })),
      'clip/delete': noteInput('clip/delete', () => ({ deleted: 1 })),
    },
  };
}

const BEGUN = { name: 'Bell', since: '2026-05-01T22:00:00.000Z', examples: 0, missing: 3 };
const LEARNT: CommandData<'learn/finish'> = {
  name: 'Bell',
  slug: 'bell',
  state: 'at_work',
  why: null,
  threshold: 0.6,
  model: 'soundpost-home',
  examples: 3,
  clips: 0,
  made_at: '2026-05-01T22:10:00.000Z',
  quality: {
    found: 3,
    of: 3,
    false_alarms_per_day: null,
    heard_hours: 0,
    is_extrapolated: true,
    heard_before: 0,
    doubts: [],
  },
};
