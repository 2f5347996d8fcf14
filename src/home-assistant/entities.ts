import { RATE_HZ } from '../common/rules.js';
import { SCORE } from '../tagging/rules.js';
import { contract, type OutKey, type Parameter } from '../mqtt/contract.js';
import { LAST_EVENT } from '../mqtt/history-specs.js';

/*
 * What Home Assistant is shown, as data. Every template gives a state that its platform takes, whatever the payload:
 * a reading that is null gives `None`, which Home Assistant shows as unknown. The templates keep to what Jinja and
 * other engines of its kind have in common.
 */

export type Platform =
  'binary_sensor' | 'button' | 'event' | 'number' | 'select' | 'sensor' | 'switch' | 'update';

/** The topics that need nothing filled in. */
export type PlainKey = { [K in OutKey]: [Parameter<K>] extends [never] ? K : never }[OutKey];

/** Options as Home Assistant names them, further than those that every entity has. */
export type Options = Readonly<Record<string, string | number | boolean | readonly string[]>>;

/** An entity that every box has, or one of its sources. */
export interface Entity {
  /** Ends the unique id and the entity id; never changed, since both would change with it. */
  readonly key: string;
  readonly platform: Platform;
  /** Shown behind the name of the device. */
  readonly name: string;
  /**
   * `sound`: not available either while no sound arrives; `windows`: nor while paused. `teaching`: only while a sound is
   * being taught.
   */
  readonly needs: 'service' | 'sound' | 'windows' | 'teaching';
  /** Where its state comes from. */
  readonly state?: PlainKey;
  /** Where its attributes come from. */
  readonly attributes?: PlainKey;
  /** Where its commands go, below `B`, or below `B/source/<source>` on the device of a source; requests have no such topic. */
  readonly command?: string;
  readonly options: Options;
  /**
   * Where it is once there are several sources: on the device of the `box`, on that of each `source`, or on both, where
   * the box has it for all of them. With one source everything is on the box.
   */
  readonly on: 'box' | 'source' | 'both';
  /** Only there where it is known how loud full scale is (`audio.calibration_db`). */
  readonly calibrated?: true;
  /** Only there where events are remembered (`history.enabled`). */
  readonly remembers?: true;
  /** The options that are others on the device of one of several sources, by the name of the source. */
  readonly ofSource?: (name: string) => Options;
}

/** A number, rounded for people; unknown where there is no reading. */
function number(path: string, digits = 0): string {
  return `{{ value_json.${path} | round(${digits}) if value_json.${path} is number else 'None' }}`;
}

/** A number as it is. */
function exactly(path: string): string {
  return `{{ value_json.${path} if value_json.${path} is number else 'None' }}`;
}

/** A switch; unknown where there is no reading. */
function flag(path: string): string {
  return `{{ 'ON' if value_json.${path} == true else ('OFF' if value_json.${path} == false else 'None') }}`;
}

/**
 * Sets `source` to what `B/state` says of one of several sources; where it knows no such source, that is all null.
 * @param name a slug, so it needs no quoting
 */
function chosen(name: string): string {
  return `{% set source = value_json.sources | default([]) | selectattr('name', 'eq', '${name}') | first | default({'paused': none, 'threshold': none}) %}`;
}

/** Whether windows are looked at, as an availability. */
export function pausedTemplate(source: string | null): string {
  return source === null
    ? "{{ 'offline' if value_json.paused else 'online' }}"
    : `${chosen(source)}{{ 'offline' if source.paused == true else 'online' }}`;
}

/** Whether a sound is being taught, as an availability. */
export const TEACHING_TEMPLATE =
  "{{ 'online' if (value_json.learning | default([]) | length) else 'offline' }}";

/** Text as a template has it between quotes. */
function quoted(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}

/**
 * What `B/info` says of the threshold of one label or group. Unknown for one that the model does not know, and for a
 * group of which each label has the threshold that is recommended for it.
 * @param source of one of several sources; null: the only one
 */
export function labelThresholdTemplate(name: string, kind: 'label' | 'group', source: string | null): string {
  const here = source === null ? '' : ` | selectattr('source', 'eq', '${source}')`;
  const which =
    kind === 'group'
      ? `selectattr('group', 'eq', ${quoted(name)})`
      : `selectattr('label', 'eq', ${quoted(name)}) | selectattr('group', 'eq', none)`;
  const one = kind === 'group' ? " and its.from in ['thresholds', 'group', 'threshold']" : '';
  return (
    `{% set its = value_json.thresholds | default([])${here} | ${which} | first | default({'threshold': none}) %}` +
    `{{ its.threshold if its.threshold is number${one} else 'None' }}`
  );
}

/** The request that sets a threshold to the value of a number. The braces of a name would begin a template. */
export function thresholdCommand(of: Readonly<Record<string, string>>): string {
  const more = JSON.stringify(of).slice(1, -1).replaceAll('{', '\\u007b').replaceAll('}', '\\u007d');
  return `{"value": {{ value }}, ${more}}`;
}

/** Of the best tag of what is heard now; there may be none. */
function topTag(expression: string): string {
  return `{{ ${expression} if (value_json.now | length) else 'None' }}`;
}

/** Home Assistant stamps an event when it comes in: an older one that waited for the broker is not news any more. */
export const LATE_EVENT_LIMIT_S = 120;
const recentEvent =
  '{% set at = value_json.ended_at or value_json.started_at %}' +
  `{{ '' if value_json.late and as_timestamp(now()) - as_timestamp(at) > ${LATE_EVENT_LIMIT_S} else value }}`;

const config = { entity_category: 'config' } as const;
const diagnostic = { entity_category: 'diagnostic' } as const;
const hidden = { ...diagnostic, enabled_by_default: false } as const;
/** What is heard now is not known any more once it has not been said for this long, whatever the reason. */
const fleeting = { expire_after: contract.tags.expirySeconds } as const;
const measurement = { state_class: 'measurement' } as const;
/** Decibels below full scale are no sound pressure, A-weighted or not, so there is no device class for them. */
const belowFullScale = {
  ...fleeting,
  ...measurement,
  unit_of_measurement: 'dBFS',
  suggested_display_precision: 0,
} as const;
/** The readings are in units of 1024 × 1024 bytes. */
const mebibytes = { ...measurement, device_class: 'data_size', unit_of_measurement: 'MiB' } as const;

/** How a threshold is shown and set. */
export const thresholdNumber = {
  ...config,
  ...SCORE,
  step: 0.01,
  mode: 'slider',
  icon: 'mdi:tune-vertical',
} as const;

export const entities: readonly Entity[] = [
  {
    key: 'model',
    platform: 'select',
    name: 'Model',
    on: 'box',
    needs: 'service',
    state: 'state',
    command: 'model/set',
    // The options are the installed models, filled in by `buildDiscovery`.
    options: {
      ...config,
      icon: 'mdi:brain',
      value_template: "{{ value_json.model if value_json.model else 'None' }}",
    },
  },
  {
    key: 'rate',
    platform: 'number',
    name: 'Inference rate',
    on: 'box',
    needs: 'service',
    state: 'state',
    command: 'rate/set',
    options: {
      ...config,
      device_class: 'frequency',
      unit_of_measurement: 'Hz',
      ...RATE_HZ,
      step: 0.01,
      mode: 'box',
      icon: 'mdi:metronome',
      value_template: exactly('rate_hz'),
    },
  },
  {
    key: 'threshold',
    platform: 'number',
    name: 'Threshold',
    on: 'both',
    needs: 'service',
    state: 'state',
    attributes: 'info',
    command: 'threshold/set',
    options: {
      ...thresholdNumber,
      // Unknown while each label has the threshold that is recommended for it: that is no one number.
      value_template: exactly('threshold'),
      // Which is in force for each watched label, and why.
      json_attributes_template: '{"thresholds": {{ value_json.thresholds | default([]) | tojson }} }',
    },
    ofSource: (name) => ({
      value_template: `${chosen(name)}{{ source.threshold if source.threshold is number else 'None' }}`,
      json_attributes_template: `{"thresholds": {{ value_json.thresholds | default([]) | selectattr('source', 'eq', '${name}') | list | tojson }} }`,
    }),
  },
  {
    // The way back, which a number cannot say.
    key: 'model_thresholds',
    platform: 'button',
    name: "Model's own thresholds",
    on: 'both',
    needs: 'service',
    command: 'threshold/set',
    options: { ...config, icon: 'mdi:restore', payload_press: 'model' },
  },
  {
    key: 'paused',
    platform: 'switch',
    name: 'Paused',
    on: 'both',
    needs: 'service',
    state: 'state',
    command: 'paused/set',
    options: {
      icon: 'mdi:pause-circle-outline',
      value_template: "{{ 'ON' if value_json.paused else 'OFF' }}",
    },
    ofSource: (name) => ({
      value_template: `${chosen(name)}{{ 'ON' if source.paused == true else ('OFF' if source.paused == false else 'None') }}`,
    }),
  },
  {
    key: 'restart',
    platform: 'button',
    name: 'Restart',
    on: 'box',
    needs: 'service',
    command: 'request/restart',
    options: { ...config, device_class: 'restart', payload_press: '{}' },
  },
  {
    key: 'top_tag',
    platform: 'sensor',
    name: 'Top tag',
    on: 'source',
    needs: 'windows',
    state: 'tags',
    options: {
      ...fleeting,
      // It changes with nearly every inference: most people want what they watch, and a small database.
      enabled_by_default: false,
      icon: 'mdi:ear-hearing',
      value_template: topTag('value_json.now[0].label'),
    },
  },
  {
    key: 'top_score',
    platform: 'sensor',
    name: 'Top tag score',
    on: 'source',
    needs: 'windows',
    state: 'tags',
    options: {
      ...fleeting,
      ...measurement,
      enabled_by_default: false,
      unit_of_measurement: '%',
      icon: 'mdi:percent-outline',
      // Whole per cents: each change of the state is a row in Home Assistant's database.
      value_template: topTag('(value_json.now[0].score * 100) | round | int'),
    },
  },
  {
    key: 'level',
    platform: 'sensor',
    name: 'Level',
    on: 'source',
    needs: 'sound',
    state: 'level',
    options: {
      ...belowFullScale,
      icon: 'mdi:volume-high',
      value_template: number('dbfs', 1),
    },
  },
  {
    key: 'sound_pressure',
    platform: 'sensor',
    name: 'Sound pressure',
    on: 'source',
    calibrated: true,
    needs: 'sound',
    state: 'level',
    options: {
      ...fleeting,
      ...measurement,
      device_class: 'sound_pressure',
      unit_of_measurement: 'dBA',
      suggested_display_precision: 0,
      value_template: number('spl_dba', 1),
    },
  },
  {
    key: 'background',
    platform: 'sensor',
    name: 'Background level',
    on: 'source',
    calibrated: true,
    needs: 'sound',
    state: 'level',
    options: {
      ...hidden,
      ...belowFullScale,
      icon: 'mdi:volume-low',
      value_template: number('background_dbfs', 1),
    },
  },
  {
    key: 'leq',
    platform: 'sensor',
    name: 'Equivalent level (60 s)',
    on: 'source',
    calibrated: true,
    needs: 'sound',
    state: 'level',
    options: {
      ...hidden,
      ...belowFullScale,
      icon: 'mdi:volume-medium',
      value_template: number('leq_60s', 1),
    },
  },
  {
    key: 'event',
    platform: 'event',
    name: 'Sound',
    on: 'both',
    // What was heard stays heard: a microphone that dies must not take its last event along.
    needs: 'service',
    state: 'event',
    options: {
      event_types: ['started', 'ended'],
      qos: 1,
      icon: 'mdi:waveform',
      value_template: recentEvent,
    },
  },
  ...([true, false] as const).map((right): Entity => {
    const word = right ? 'right' : 'wrong';
    return {
      key: `last_${word}`,
      platform: 'button',
      name: `Last event was ${word}`,
      on: 'source',
      remembers: true,
      needs: 'service',
      command: 'request/event/judge',
      options: {
        icon: right ? 'mdi:thumb-up-outline' : 'mdi:thumb-down-outline',
        payload_press: JSON.stringify({ id: LAST_EVENT, right }),
      },
      ofSource: (source) => ({ payload_press: JSON.stringify({ id: LAST_EVENT, right, source }) }),
    };
  }),
  {
    // Which sound that is, the service knows.
    key: 'learn_example',
    platform: 'button',
    name: 'That was it',
    on: 'source',
    needs: 'teaching',
    command: 'request/learn/example',
    options: { icon: 'mdi:school-outline', payload_press: '{}' },
    ofSource: (source) => ({ payload_press: JSON.stringify({ source }) }),
  },
  {
    key: 'microphone',
    platform: 'binary_sensor',
    name: 'Microphone',
    on: 'source',
    needs: 'service',
    state: 'audio/status',
    options: { ...diagnostic, device_class: 'problem', payload_on: 'offline', payload_off: 'online', qos: 1 },
  },
  {
    key: 'throttling',
    platform: 'binary_sensor',
    name: 'Throttling',
    on: 'box',
    needs: 'service',
    state: 'state',
    options: { ...diagnostic, device_class: 'problem', value_template: flag('throttle.active') },
  },
  {
    key: 'under_voltage',
    platform: 'binary_sensor',
    name: 'Under-voltage',
    on: 'box',
    needs: 'service',
    state: 'telemetry',
    options: { ...diagnostic, device_class: 'problem', value_template: flag('soc.under_voltage') },
  },
  {
    key: 'effective_rate',
    platform: 'sensor',
    name: 'Effective rate',
    on: 'box',
    needs: 'service',
    state: 'state',
    options: {
      ...diagnostic,
      ...measurement,
      device_class: 'frequency',
      unit_of_measurement: 'Hz',
      suggested_display_precision: 2,
      value_template: exactly('effective_rate_hz'),
    },
  },
  {
    key: 'latency_p95',
    platform: 'sensor',
    name: 'Latency (95th percentile)',
    on: 'box',
    needs: 'service',
    state: 'telemetry',
    options: {
      ...diagnostic,
      ...measurement,
      device_class: 'duration',
      unit_of_measurement: 'ms',
      suggested_display_precision: 1,
      value_template: number('latency_ms.p95', 2),
    },
  },
  {
    key: 'soc_temperature',
    platform: 'sensor',
    name: 'SoC temperature',
    on: 'box',
    needs: 'service',
    state: 'telemetry',
    options: {
      ...diagnostic,
      ...measurement,
      device_class: 'temperature',
      unit_of_measurement: '°C',
      suggested_display_precision: 1,
      value_template: number('soc.temperature_c', 1),
    },
  },
  {
    key: 'cpu',
    platform: 'sensor',
    name: 'CPU load',
    on: 'box',
    needs: 'service',
    state: 'telemetry',
    options: {
      ...hidden,
      ...measurement,
      unit_of_measurement: '%',
      icon: 'mdi:cpu-64-bit',
      value_template: number('host.cpu_percent', 1),
    },
  },
  {
    key: 'memory',
    platform: 'sensor',
    name: 'Memory in use',
    on: 'box',
    needs: 'service',
    state: 'telemetry',
    options: {
      ...hidden,
      ...mebibytes,
      value_template: number('host.memory_rss_mb'),
    },
  },
  {
    key: 'disk_free',
    platform: 'sensor',
    name: 'Free disk space',
    on: 'box',
    needs: 'service',
    state: 'telemetry',
    options: {
      ...hidden,
      ...mebibytes,
      value_template: number('host.disk_free_mb'),
    },
  },
  {
    key: 'dropped_windows',
    platform: 'sensor',
    name: 'Dropped windows',
    on: 'box',
    needs: 'service',
    state: 'telemetry',
    options: {
      ...hidden,
      state_class: 'total_increasing',
      icon: 'mdi:debug-step-over',
      value_template: number('windows.dropped'),
    },
  },
];
