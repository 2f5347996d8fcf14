import nunjucks from 'nunjucks';
import { z } from 'zod';

/*
 * What Home Assistant takes as the description of a device, written down from its own rules as of 2026.11.0
 * (homeassistant/components/mqtt: schemas.py, discovery.py, config.py, util.py and the files of the platforms;
 * components/{sensor,number,binary_sensor,button,event,switch,update}/const.py: device classes, their units and state
 * classes). Only the platforms that are used here, and no child devices, which are not.
 *
 * Devices are described for 2025.10 and later. So what came after that is not taken here: the options child_device,
 * child_devices, message_expiry_interval and visible_by_default, an entity_picture where the entity is no update, the
 * device classes glass_break and uptime, and numbers with min = max.
 *
 * In these things it is stricter than Home Assistant, which
 *   - drops keys of components that it does not know;
 *   - lets topics that it subscribes to have wildcards;
 *   - lets a sensor or a number of a device class go without its unit, and writes a warning at its first state;
 *   - lets a state class go with every device class, and writes a warning;
 *   - does without unique_id and components in some cases;
 *   - takes an entity id that it cannot use, and makes one itself.
 */

const text = z.string();
const ownTopic = z
  .string()
  .min(1)
  .refine((topic) => Buffer.byteLength(topic) <= 65_535, 'a topic has at most 65535 bytes')
  .refine((topic) => !/[+#\p{Cc}]/u.test(topic), 'no wildcards and no control characters in a topic')
  .refine((topic) => !/\p{NChar}/u.test(topic), 'no non-characters in a topic');
const template = z.string().refine((source) => {
  try {
    new nunjucks.Template(source, new nunjucks.Environment(), 'template', true);
    return true;
  } catch {
    return false;
  }
}, 'has to be a template');
const icon = z.string().regex(/^[a-z]+:[a-z0-9-]+$/, 'has to be like mdi:home');
const qos = z.union([z.literal(0), z.literal(1), z.literal(2)]);

const availabilityOptions = {
  availability: z
    .array(
      z.strictObject({
        topic: ownTopic,
        payload_available: text.optional(),
        payload_not_available: text.optional(),
        value_template: template.optional(),
      }),
    )
    .optional(),
  availability_mode: z.enum(['all', 'any', 'latest']).optional(),
  availability_topic: ownTopic.optional(),
  availability_template: template.optional(),
  payload_available: text.optional(),
  payload_not_available: text.optional(),
};

/** Options of the root that a component has as well, unless it has its own. */
const sharedOptions = [...Object.keys(availabilityOptions), 'command_topic', 'state_topic'];

const device = z
  .strictObject({
    identifiers: z.array(text).optional(),
    connections: z.array(z.tuple([text, text])).optional(),
    manufacturer: text.optional(),
    model: text.optional(),
    model_id: text.optional(),
    name: text.optional(),
    hw_version: text.optional(),
    serial_number: text.optional(),
    sw_version: text.optional(),
    via_device: text.optional(),
    suggested_area: text.optional(),
    configuration_url: z.url().optional(),
  })
  .refine(
    ({ identifiers = [], connections = [] }) => identifiers.length + connections.length > 0,
    'must have at least one identifying value',
  );

const root = z
  .strictObject({
    device,
    origin: z.strictObject({ name: text, sw_version: text.optional(), support_url: z.url().optional() }),
    components: z.record(z.string(), z.looseObject({ platform: text })),
    state_topic: ownTopic.optional(),
    command_topic: ownTopic.optional(),
    qos: qos.optional(),
    encoding: text.optional(),
    ...availabilityOptions,
  })
  .refine(exclusiveAvailability, 'availability and availability_topic exclude each other');

function exclusiveAvailability(value: { availability?: unknown; availability_topic?: unknown }): boolean {
  return value.availability === undefined || value.availability_topic === undefined;
}

/** Every entity. */
const common = {
  platform: text,
  // Without it there is no way to find the entity again.
  unique_id: text.min(1),
  name: text.min(1).nullable().optional(),
  default_entity_id: z
    .string()
    .regex(/^[a-z_]+\.[a-z0-9]+(_[a-z0-9]+)*$/, 'has to be an entity id')
    .optional(),
  enabled_by_default: z.boolean().optional(),
  entity_category: z.enum(['config', 'diagnostic']).optional(),
  icon: icon.optional(),
  json_attributes_topic: ownTopic.optional(),
  json_attributes_template: template.optional(),
  qos: qos.optional(),
  encoding: text.optional(),
  ...availabilityOptions,
};
const readOnly = { ...common, state_topic: ownTopic, value_template: template.optional() };
const readWrite = {
  ...common,
  command_topic: ownTopic,
  command_template: template.optional(),
  state_topic: ownTopic.optional(),
  value_template: template.optional(),
  optimistic: z.boolean().optional(),
  retain: z.boolean().optional(),
};

const information = ['bit', 'kbit', 'Mbit', 'Gbit', 'B', 'kB', 'MB', 'GB', 'TB', 'KiB', 'MiB', 'GiB', 'TiB'];
const frequency = ['mHz', 'Hz', 'kHz', 'MHz', 'GHz'];
const temperature = ['°C', '°F', 'K'];
/** DEVICE_CLASS_UNITS of sensors and numbers; null is "none". */
const unitsOf: Readonly<Record<string, readonly (string | null)[]>> = {
  battery: ['%'],
  data_rate: [
    'bit/s',
    'kbit/s',
    'Mbit/s',
    'Gbit/s',
    'B/s',
    'kB/s',
    'MB/s',
    'GB/s',
    'KiB/s',
    'MiB/s',
    'GiB/s',
  ],
  data_size: information,
  duration: ['d', 'h', 'min', 's', 'ms', 'μs'],
  frequency,
  humidity: ['%'],
  power_factor: ['%', null],
  signal_strength: ['dB', 'dBm'],
  sound_pressure: ['dB', 'dBA'],
  temperature,
  voltage: ['V', 'mV', 'μV', 'kV', 'MV'],
};
/** DEVICE_CLASS_STATE_CLASSES of sensors, for the same. */
const anyStateClass = ['measurement', 'total', 'total_increasing'];
const stateClassesOf: Readonly<Record<string, readonly string[]>> = {
  ...Object.fromEntries(Object.keys(unitsOf).map((name) => [name, ['measurement']])),
  data_size: anyStateClass,
  duration: anyStateClass,
  date: [],
  enum: [],
  timestamp: [],
};

const sensor = z
  .strictObject({
    ...readOnly,
    device_class: z.enum(Object.keys(stateClassesOf)).nullable().optional(),
    state_class: z
      .enum(['measurement', 'measurement_angle', 'total', 'total_increasing'])
      .nullable()
      .optional(),
    unit_of_measurement: text.nullable().optional(),
    suggested_display_precision: z.number().int().nonnegative().optional(),
    options: z.array(text).min(1).optional(),
    last_reset_value_template: template.optional(),
    expire_after: z.number().int().positive().optional(),
    force_update: z.boolean().optional(),
  })
  .superRefine((value, context) => {
    const fault = (message: string) => context.addIssue({ code: 'custom', message });
    const { device_class: kind, state_class: stateClass, unit_of_measurement: unit } = value;
    if (typeof kind === 'string') {
      if (kind in unitsOf && unitsOf[kind]?.includes(unit ?? null) !== true) {
        fault(`the unit ${String(unit)} does not fit the device class ${kind}`);
      }
      if (typeof stateClass === 'string' && stateClassesOf[kind]?.includes(stateClass) !== true) {
        fault(`the state class ${stateClass} does not fit the device class ${kind}`);
      }
      if (['date', 'enum', 'timestamp'].includes(kind) && unit !== undefined) fault(`${kind} takes no unit`);
    }
    if (stateClass === 'measurement_angle' && unit !== '°') fault('measurement_angle is for the unit °');
    if (value.options !== undefined && (kind !== 'enum' || stateClass !== undefined || unit !== undefined)) {
      fault('options are for device class enum, without a state class and a unit');
    }
    if (value.last_reset_value_template !== undefined && stateClass !== 'total') {
      fault('last_reset_value_template is for state class total');
    }
    if (value.entity_category === 'config') fault('a sensor cannot have the entity category config');
  });

const binarySensorClasses = [
  ...['battery', 'battery_charging', 'carbon_monoxide', 'cold', 'connectivity', 'door', 'garage_door', 'gas'],
  ...['heat', 'light', 'lock', 'moisture', 'motion', 'moving', 'occupancy', 'opening', 'plug', 'power'],
  ...[
    'presence',
    'problem',
    'running',
    'safety',
    'smoke',
    'sound',
    'tamper',
    'update',
    'vibration',
    'window',
  ],
];

const binarySensor = z
  .strictObject({
    ...readOnly,
    device_class: z.enum(binarySensorClasses).nullable().optional(),
    expire_after: z.number().int().positive().optional(),
    force_update: z.boolean().optional(),
    off_delay: z.number().int().positive().optional(),
    payload_on: text.optional(),
    payload_off: text.optional(),
  })
  .refine(
    ({ entity_category }) => entity_category !== 'config',
    'a binary sensor cannot have the entity category config',
  );

const number = z
  .strictObject({
    ...readWrite,
    device_class: z.enum(Object.keys(unitsOf)).nullable().optional(),
    unit_of_measurement: text.nullable().optional(),
    min: z.number().default(1),
    max: z.number().default(100),
    step: z.number().min(0.001).default(1),
    mode: z.enum(['auto', 'box', 'slider']).optional(),
    payload_reset: text.optional(),
  })
  .superRefine(({ min, max, device_class: kind, unit_of_measurement: unit }, context) => {
    if (min >= max) context.addIssue({ code: 'custom', message: "'max' must be > 'min'" });
    if (typeof kind === 'string' && unitsOf[kind]?.includes(unit ?? null) !== true) {
      context.addIssue({ code: 'custom', message: `the unit ${String(unit)} does not fit ${kind}` });
    }
  });

const platforms: Readonly<Record<string, z.ZodObject>> = {
  binary_sensor: binarySensor,
  button: z.strictObject({
    ...common,
    command_topic: ownTopic,
    command_template: template.optional(),
    device_class: z.enum(['identify', 'restart', 'update']).nullable().optional(),
    payload_press: text.optional(),
    retain: z.boolean().optional(),
  }),
  event: z.strictObject({
    ...readOnly,
    device_class: z.enum(['button', 'doorbell', 'motion']).optional(),
    event_types: z.array(text),
  }),
  number,
  select: z.strictObject({ ...readWrite, options: z.array(text) }),
  sensor,
  switch: z.strictObject({
    ...readWrite,
    device_class: z.enum(['outlet', 'switch']).nullable().optional(),
    payload_on: text.optional(),
    payload_off: text.optional(),
    state_on: text.optional(),
    state_off: text.optional(),
  }),
  update: z.strictObject({
    ...readOnly,
    state_topic: ownTopic.optional(),
    command_topic: ownTopic.optional(),
    device_class: z.enum(['firmware']).nullable().optional(),
    display_precision: z.number().int().nonnegative().optional(),
    entity_picture: text.optional(),
    latest_version_topic: ownTopic.optional(),
    latest_version_template: template.optional(),
    payload_install: text.optional(),
    release_summary: text.optional(),
    release_url: text.optional(),
    retain: z.boolean().optional(),
    title: text.optional(),
  }),
};

/**
 * What Home Assistant knows a device by whose description comes on this topic (TOPIC_MATCHER and the discovery ids of
 * discovery.py), null where it does not read it. Its components are known by that and by their own ids.
 */
export function discoveredAs(prefix: string, topic: string): string | null {
  if (!topic.startsWith(`${prefix}/`)) return null;
  const levels = /^device\/(?:([a-zA-Z0-9_-]+)\/)?([a-zA-Z0-9_-]+)\/config$/.exec(
    topic.slice(prefix.length + 1),
  );
  if (levels === null) return null;
  const [, node, object] = levels;
  return node === undefined ? object! : `${object} ${node}`;
}

/** An entity as Home Assistant has it after the options of the root have been inherited. */
export interface HomeEntity {
  id: string;
  platform: string;
  config: Record<string, unknown>;
}

export type Discovered =
  { faults: string[]; entities?: undefined } | { faults: []; entities: HomeEntity[]; removed: string[] };

/** Reads a payload of `<prefix>/device/<id>/config` as Home Assistant does: what is wrong with it, or the entities. */
export function discover(payload: string): Discovered {
  let json: unknown;
  try {
    json = JSON.parse(payload);
  } catch {
    return { faults: ['no JSON'] };
  }
  const parsed = root.safeParse(json);
  if (!parsed.success) return { faults: lines('', parsed.error) };
  const { components, ...top } = parsed.data;
  const shared = Object.fromEntries(Object.entries(top).filter(([key]) => sharedOptions.includes(key)));
  const faults: string[] = [];
  const found: HomeEntity[] = [];
  const removed: string[] = [];
  for (const [id, component] of Object.entries(components)) {
    const schema = platforms[component.platform];
    if (schema === undefined) {
      faults.push(`${id}: the platform ${component.platform} is not known`);
    } else if (Object.keys(component).length === 1) {
      removed.push(id);
    } else {
      // What this platform has no use for is dropped.
      const inherited = Object.fromEntries(Object.entries(shared).filter(([key]) => key in schema.shape));
      const checked = schema.safeParse({ ...inherited, ...component });
      if (!checked.success) faults.push(...lines(id, checked.error));
      else if (!exclusiveAvailability(checked.data)) faults.push(`${id}: availability twice`);
      else found.push({ id, platform: component.platform, config: checked.data });
    }
  }
  for (const key of ['unique_id', 'default_entity_id']) {
    const values = found.map(({ config }) => config[key]);
    for (const value of new Set(values.filter((one, index) => values.indexOf(one) !== index))) {
      faults.push(`${key} ${String(value)} comes twice`);
    }
  }
  for (const { id, platform, config } of found) {
    const entityId = config['default_entity_id'];
    if (typeof entityId === 'string' && !entityId.startsWith(`${platform}.`)) {
      faults.push(`${id}: ${entityId} is not of the platform ${platform}`);
    }
  }
  return faults.length > 0 ? { faults } : { faults: [], entities: found, removed };
}

function lines(where: string, error: z.ZodError): string[] {
  return error.issues.map(
    ({ path, message }) => `${[...(where === '' ? [] : [where]), ...path.map(String)].join('.')}: ${message}`,
  );
}
