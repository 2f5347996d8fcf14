import type { ServiceControl } from '../../src/mqtt/command-table.js';
import { SCHEMA_VERSION } from '../../src/mqtt/contract.js';

export type RecordingControl = ServiceControl & {
  /** The name of each method that was called, and its arguments, without signals and what was not given at the end. */
  readonly calls: unknown[][];
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
  };
}
