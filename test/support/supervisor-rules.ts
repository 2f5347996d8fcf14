import { z } from 'zod';

/*
 * What Home Assistant's Supervisor takes as an app, written down from its own rules after its release 2026.03
 * (supervisor/apps/validate.py and options.py, supervisor/store/data.py and validate.py, supervisor/utils/apparmor.py,
 * read at the commits 2791660 to 1ee90b7). Only the keys that an app of today may have. In these things it is stricter:
 * the Supervisor drops keys that it does not know, and warns of old ones, and here they are faults.
 */

const port = z.number().int().min(1).max(65_535);
const webAddress = z.url({ protocol: /^https?$/ });

/** A type in the form: `str`, `int(1,5)`, `list(a|b)?`. */
const ELEMENT = new RegExp(
  '^(?:bool|email|url|port' +
    '|device(?:\\((?<filter>subsystem=[a-z]+)\\))?' +
    '|(?:str|password)(?:\\(\\d*,\\d*\\))?' +
    '|int(?:\\((?<iMin>-?\\d+)?,(?<iMax>-?\\d+)?\\))?' +
    '|float(?:\\((?<fMin>-?\\d*\\.?\\d+)?,(?<fMax>-?\\d*\\.?\\d+)?\\))?' +
    '|match\\((?<match>.*)\\)' +
    '|list\\((?<list>.+)\\)' +
    ')\\??$',
);
const element = z
  .string()
  .regex(ELEMENT, 'no type of the form')
  // It compares the text itself with the number, which never holds (options.py, _single_validate).
  .refine((type) => !/^(?:str|password)\(/.test(type), 'a length of text fails for every text');

/** A type, a list of one type, or named types. */
export type Form = string | FormFields | (string | FormFields)[];
export interface FormFields {
  [name: string]: Form;
}
const fields: z.ZodType<FormFields> = z.lazy(() => z.record(z.string(), form));
// A list may not hold another list directly; of a list only the first type counts.
const form: z.ZodType<Form> = z.lazy(() =>
  z.union([element, z.array(z.union([element, fields])).length(1), fields]),
);

/** `config.yaml`. */
export const appConfig = z.strictObject({
  name: z.string().min(1),
  version: z.string().regex(/^\d+\.\d+\.\d+(?:-[\w.]+)?$/),
  slug: z.string().regex(/^[-_.A-Za-z0-9]+$/),
  description: z.string(),
  arch: z.array(z.enum(['amd64', 'aarch64'])).min(1),
  url: webAddress.optional(),
  startup: z.enum(['initialize', 'system', 'services', 'application', 'once']).optional(),
  boot: z.enum(['auto', 'manual', 'manual_only']).optional(),
  init: z.boolean().optional(),
  stage: z.enum(['stable', 'experimental', 'deprecated']).optional(),
  ports: z.record(z.string().regex(/^\d+(?:\/tcp|\/udp)?$/), port.nullable()).optional(),
  watchdog: z
    .string()
    .regex(/^(?:https?|\[PROTO:\w+\]|tcp):\/\/\[HOST\]:(\[PORT:\d+\]|\d+).*$/)
    .optional(),
  ingress: z.boolean().optional(),
  ingress_port: z.union([port, z.literal(0)]).optional(),
  ingress_entry: z.string().optional(),
  ingress_stream: z.boolean().optional(),
  panel_icon: z.string().optional(),
  panel_title: z.string().optional(),
  panel_admin: z.boolean().optional(),
  homeassistant: z.string().optional(),
  tmpfs: z.boolean().optional(),
  map: z
    .array(
      z.strictObject({
        type: z.enum([
          'data',
          'ssl',
          'addons',
          'backup',
          'share',
          'media',
          'homeassistant_config',
          'all_addon_configs',
          'addon_config',
        ]),
        read_only: z.boolean().optional(),
        path: z.string().optional(),
      }),
    )
    .optional(),
  environment: z.record(z.string().regex(/^\w*/), z.string()).optional(),
  apparmor: z.boolean().optional(),
  audio: z.boolean().optional(),
  services: z.array(z.string().regex(/^(mqtt|mysql):(provide|want|need)$/)).optional(),
  discovery: z.array(z.string()).optional(),
  backup: z.enum(['hot', 'cold']).optional(),
  backup_exclude: z.array(z.string()).optional(),
  options: z.record(z.string(), z.unknown()),
  schema: z.record(z.string(), form),
  image: z
    .string()
    .regex(/^([a-zA-Z\-.:\d{}]+\/)*?([-\w{}]+)\/([-\w{}]+)$/)
    .optional(),
  ulimits: z.record(z.string(), z.number().int()).optional(),
  timeout: z.number().int().min(10).max(300).optional(),
});

/** Keys that the Supervisor knows and that give an app more than a container has. */
export const RIGHTS = [
  'auth_api',
  'devices',
  'devicetree',
  'docker_api',
  'full_access',
  'gpio',
  'hassio_api',
  'homeassistant_api',
  'host_dbus',
  'host_ipc',
  'host_network',
  'host_pid',
  'host_uts',
  'kernel_modules',
  'privileged',
  'realtime',
  'uart',
  'udev',
  'usb',
  'video',
] as const;

/** `repository.yaml`. */
export const appRepository = z.strictObject({
  name: z.string(),
  url: webAddress.optional(),
  maintainer: z.string().optional(),
});

interface Translation {
  name: string;
  description?: string | null | undefined;
  fields?: Record<string, Translation> | undefined;
}
const translation: z.ZodType<Translation> = z.lazy(() =>
  z.strictObject({
    name: z.string(),
    description: z.string().nullish(),
    fields: z.record(z.string(), translation).optional(),
  }),
);
/** `translations/<language>.yaml`. */
export const appTranslations = z.strictObject({
  configuration: z.record(z.string(), translation).optional(),
  network: z.record(z.string(), z.string()).optional(),
});

/** Whether the Supervisor takes a file of a repository for the configuration of an app; `path` from its root. */
export function isAppConfig(path: string): boolean {
  const parts = path.split('/');
  return (
    /^config\.(?:json|ya?ml)$/.test(parts.at(-1)!) &&
    !parts.some((part) => part.startsWith('.') || part === 'rootfs')
  );
}

/** Names of the profiles in an AppArmor file that the Supervisor sees; there has to be one. */
export function profileNames(text: string): string[] {
  return [...text.matchAll(/^profile ([^ ]+).*$/gm)].map(([, name]) => name!);
}

/** What the Supervisor would say against what somebody has filled in; nothing where it takes it. */
export function optionFaults(schema: FormFields, options: Record<string, unknown>): string[] {
  return faultsOf(schema, options, '');
}

function faultsOf(type: Form, value: unknown, at: string): string[] {
  if (Array.isArray(type)) {
    if (!Array.isArray(value)) return [`${at}: no list`];
    return value.flatMap((each, index) => faultsOf(type[0]!, each, `${at}[${index}]`));
  }
  if (typeof type === 'string')
    return fits(type, value) ? [] : [`${at}: ${JSON.stringify(value)} is no ${type}`];
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return [`${at}: no named values`];
  const given = value as Record<string, unknown>;
  const unknown = Object.keys(given).filter((name) => !Object.hasOwn(type, name));
  return [
    ...unknown.map((name) => `${at}.${name}: not in the form`),
    ...Object.entries(type).flatMap(([name, part]) => {
      if (given[name] !== undefined) return faultsOf(part, given[name], `${at}.${name}`);
      const first = Array.isArray(part) ? part[0] : part;
      return typeof first === 'string' && first.endsWith('?') ? [] : [`${at}.${name}: missing`];
    }),
  ];
}

function fits(type: string, value: unknown): boolean {
  if (!['string', 'number', 'boolean'].includes(typeof value)) return false;
  const written = String(value);
  const groups = ELEMENT.exec(type)!.groups!;
  const within = (least: string | undefined, most: string | undefined) =>
    Number(value) >= Number(least ?? -Infinity) && Number(value) <= Number(most ?? Infinity);
  if (groups['match'] !== undefined) return new RegExp(`^(?:${groups['match']})`).test(written);
  if (groups['list'] !== undefined) return groups['list'].split('|').includes(written);
  switch (/^[a-z]+/.exec(type)![0]) {
    case 'bool':
      return typeof value === 'boolean';
    case 'int':
      return Number.isInteger(value) && within(groups['iMin'], groups['iMax']);
    case 'float':
      return typeof value === 'number' && within(groups['fMin'], groups['fMax']);
    case 'url':
      // voluptuous wants a scheme and a host.
      return URL.canParse(written) && /^[a-z]+:\/\/[^/]/.test(written);
    case 'port':
      return port.safeParse(value).success;
    default:
      return typeof value === 'string';
  }
}
