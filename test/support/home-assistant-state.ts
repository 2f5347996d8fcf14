import nunjucks from 'nunjucks';
import { z } from 'zod';
import type { HomeEntity } from './home-assistant-schema.js';

/*
 * What Home Assistant makes of a message on the state topic of an entity (its platforms under
 * homeassistant/components/mqtt). Templates are stricter than Jinja: what would be printed as `None` or as nothing
 * because a field is missing is a fault.
 */

/** `(str, number or null)` → Unix time in seconds, as Home Assistant's filter of that name. */
function asTimestamp(value: unknown): number {
  const ms = value instanceof Date ? value.getTime() : Date.parse(String(value));
  if (Number.isNaN(ms)) throw new Error(`as_timestamp got ${String(value)}`);
  return ms / 1000;
}

/** Renders a template with `value` and, where the payload is JSON, `value_json`; `now` is the clock. */
export function render(template: string, payload: string, now: () => Date = () => new Date()): string {
  const environment = new nunjucks.Environment(null, { autoescape: false, throwOnUndefined: true });
  // Jinja's, which nunjucks calls `dump`; both print JSON.
  environment.addFilter('tojson', (value: unknown) => JSON.stringify(value));
  // Jinja's with a test, of which nunjucks has only "eq".
  environment.addFilter(
    'selectattr',
    (list: Record<string, unknown>[], key: string, test: string, to: unknown) => {
      if (test !== 'eq') throw new Error(`selectattr got the test ${test}`);
      return list.filter((each) => each[key] === to);
    },
  );
  environment.addGlobal('now', now);
  environment.addGlobal('as_timestamp', asTimestamp);
  let json: unknown;
  try {
    json = JSON.parse(payload);
  } catch {
    json = undefined;
  }
  return environment.renderString(template, { value: payload, value_json: json }).trim();
}

/** MQTT_JSON_UPDATE_SCHEMA: a key too many or a null, and the whole message is thrown away. */
const updateState = z.strictObject({
  installed_version: z.string().optional(),
  latest_version: z.string().optional(),
  title: z.string().optional(),
  release_summary: z.string().max(255).optional(),
  release_url: z.url().optional(),
  entity_picture: z.url().optional(),
  in_progress: z.boolean().optional(),
  update_percentage: z.number().min(0).max(100).nullable().optional(),
});

/** The state that an entity takes from a payload; null is unknown, undefined: the message is passed over. */
export type HomeState = string | number | boolean | Record<string, unknown> | null | undefined;

/** Throws an Error that says why where Home Assistant would complain in its log. */
export function stateOf(
  { platform, config }: HomeEntity,
  payload: string,
  options: { retained?: boolean; now?: () => Date } = {},
): HomeState {
  const template = config['value_template'];
  const text = typeof template === 'string' ? render(template, payload, options.now) : payload;
  const refuse = (why: string): never => {
    throw new Error(`${why}: "${text.slice(0, 300)}"`);
  };
  switch (platform) {
    case 'binary_sensor':
    case 'switch': {
      if (text === (config['payload_on'] ?? 'ON')) return true;
      if (text === (config['payload_off'] ?? 'OFF')) return false;
      return text === 'None' ? null : refuse('no matching payload');
    }
    case 'select': {
      if (text.toLowerCase() === 'none') return null;
      return (config['options'] as string[]).includes(text) ? text : refuse('no valid option');
    }
    case 'number': {
      if (text === 'None') return null;
      const value = numberIn(text) ?? refuse('not a number');
      const [min, max] = [Number(config['min']), Number(config['max'])];
      return value < min || value > max ? refuse(`not from ${min} to ${max}`) : value;
    }
    case 'sensor': {
      if (text === 'None') return null;
      const numeric =
        typeof config['unit_of_measurement'] === 'string' ||
        typeof config['state_class'] === 'string' ||
        typeof config['suggested_display_precision'] === 'number';
      if (numeric) return numberIn(text) ?? refuse('not a number');
      return text === '' || text.length > 255 ? refuse('no state') : text;
    }
    case 'event': {
      if (options.retained === true || text === '' || text === 'None' || text === '{}') return undefined;
      const event = z.record(z.string(), z.unknown()).parse(JSON.parse(text));
      const type = event['event_type'];
      return (config['event_types'] as unknown[]).includes(type) ? event : refuse('invalid event type');
    }
    case 'update': {
      if (text === '') return undefined;
      return updateState.parse(JSON.parse(text));
    }
    default:
      return refuse(`${platform} has no state`);
  }
}

/** As Python's float() reads it. */
function numberIn(text: string): number | null {
  return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : null;
}

/** The state of an update entity: whether Home Assistant offers to install. */
export function updateAvailable(state: Record<string, unknown>): boolean | null {
  const { installed_version: installed, latest_version: latest } = state;
  // Versions that differ and cannot be compared are an update.
  return typeof installed === 'string' && typeof latest === 'string' ? installed !== latest : null;
}
