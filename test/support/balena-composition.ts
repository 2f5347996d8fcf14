import { parse } from 'yaml';
import { z } from 'zod';

/** What balena's reference of docker-compose.yml names as supported for a service. */
const SERVICE_FIELDS = new Set(
  `build cap_add cap_drop cgroup_parent command cpu_quota cpu_shares cpuset depends_on devices dns dns_opt dns_search
  domainname entrypoint environment expose extra_hosts group_add healthcheck hostname image ipc labels mac_address
  mem_limit mem_reservation network_mode networks oom_kill_disable oom_score_adj pid pids_limit ports privileged
  read_only restart security_opt shm_size stop_grace_period stop_signal sysctls tmpfs ulimits user userns_mode
  volumes working_dir`.split(/\s+/),
);
/** `target` is left out: it breaks livepush. */
const BUILD_FIELDS = new Set([
  'context',
  'dockerfile',
  'args',
  'cache_from',
  'extra_hosts',
  'labels',
  'shm_size',
]);

const switchLabel = z.union([z.literal(1), z.literal('1'), z.literal(true), z.literal('true')]);
const FEATURES = [
  'balena-api',
  'balena-socket',
  'dbus',
  'firmware',
  'gpu',
  'journal-logs',
  'kernel-modules',
  'procfs',
  'supervisor-api',
  'sysfs',
];
/** Every label the supervisor or the API acts on, with what it may be. A label with a typing error does nothing. */
const LABELS: Readonly<Record<string, z.ZodType>> = {
  ...Object.fromEntries(FEATURES.map((name) => [`io.balena.features.${name}`, switchLabel])),
  'io.balena.features.requires.arch.sw': z.enum(['aarch64', 'amd64', 'armv7hf', 'rpi', 'i386']),
  'io.balena.features.requires.hw.device-type': z.string().min(1),
  'io.balena.features.requires.sw.supervisor': z.string().min(1),
  'io.balena.features.requires.sw.l4t': z.string().min(1),
  // "hand-over" is known to balena and wrong for us: for a while two containers want one microphone.
  'io.balena.update.strategy': z.enum(['download-then-kill', 'kill-then-download', 'delete-then-download']),
};

const DEVICE = /^\/dev\/[\w/.-]+(:\/dev\/[\w/.-]+(:[rwm]{1,3})?)?$/;

const serviceSchema = z.looseObject({
  build: z.union([z.string(), z.looseObject({ context: z.string() })]).optional(),
  devices: z.array(z.string()).optional(),
  labels: z.record(z.string(), z.unknown()).optional(),
  volumes: z.array(z.string()).optional(),
});
const compositionSchema = z.strictObject({
  version: z.string(),
  volumes: z.record(z.string(), z.unknown()).optional(),
  networks: z.record(z.string(), z.unknown()).optional(),
  services: z.record(z.string(), serviceSchema),
});

/**
 * What balena's own parser lets pass or what goes wrong only on the device, one sentence each; empty where nothing
 * is wrong. `text` is a docker-compose.yml in the root of a project.
 */
export function compositionProblems(text: string): string[] {
  const parsed = compositionSchema.safeParse(parse(text));
  if (!parsed.success) return parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`);
  const { version, services, volumes = {} } = parsed.data;
  const problems: string[] = [];
  const say = (problem: string) => problems.push(problem);

  if (!/^2(\.[0-4])?$/.test(version)) say(`version ${version} is none of 2.0 to 2.4`);
  const withoutComments = text.replace(/(^|\s)#.*$/gm, '');
  if (withoutComments.includes('${')) say('a variable in ${} is not replaced by balena');

  for (const [name, service] of Object.entries(services)) {
    for (const field of Object.keys(service)) {
      if (!SERVICE_FIELDS.has(field)) say(`${name}.${field} is not supported`);
    }
    if (typeof service.build === 'object') {
      for (const field of Object.keys(service.build)) {
        if (!BUILD_FIELDS.has(field)) say(`${name}.build.${field} is not supported`);
      }
    }
    const context = typeof service.build === 'string' ? service.build : service.build?.context;
    if (context !== undefined && /^\/|(^|\/)\.\.(\/|$)|:/.test(context)) {
      say(`${name}.build.context ${context} is not below the root of the project`);
    }
    for (const device of service.devices ?? []) {
      if (!DEVICE.test(device)) say(`${name}.devices: ${device} is not /dev/NAME:/dev/NAME`);
    }
    for (const [label, value] of Object.entries(service.labels ?? {})) {
      const known = LABELS[label];
      if (known === undefined) say(`${name}.labels: nothing acts on ${label}`);
      else if (!known.safeParse(value).success) say(`${name}.labels: ${label} cannot be ${String(value)}`);
    }
    for (const volume of service.volumes ?? []) {
      const [source = '', target = ''] = volume.split(':');
      if (!(source in volumes)) say(`${name}.volumes: ${source} is not one of the named volumes`);
      if (!target.startsWith('/')) say(`${name}.volumes: ${volume} has no absolute path in the container`);
    }
  }
  return problems;
}

/**
 * The composition with the parts that an operator may switch on: lines that are comments of YAML (`# name:`,
 * `# - value`), after a line that ends as `from` says.
 */
export function uncommented(text: string, keys: readonly string[]): string {
  const lines = text.split('\n');
  return lines
    .map((line, index) => {
      const yaml = /^(\s*)# (\s*(?:[\w.-]+:.*|- .*))$/.exec(line);
      if (yaml === null) return line;
      const owner = ownerOf(lines, index);
      return keys.includes(owner) ? `${yaml[1]}${yaml[2]}` : line;
    })
    .join('\n');
}

/** The first key of the block of commented lines that a line belongs to. */
function ownerOf(lines: readonly string[], index: number): string {
  const indent = (line: string) => /^\s*# (\s*)/.exec(line)?.[1]?.length ?? 0;
  for (let at = index; at >= 0; at -= 1) {
    const line = lines[at] ?? '';
    const key = /^\s*# ([\w-]+):/.exec(line)?.[1];
    if (key !== undefined && indent(line) === 0) return key;
  }
  return '';
}
