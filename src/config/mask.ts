import { addressesOf, credentialsOf, parseUrl } from './addresses.js';
import { keys, type Config } from './schema.js';
import type { Entry } from './load.js';

/** What stands in the place of a secret. */
export const mask = '***';

/**
 * An address with its user name, its password and the values of its query hidden. Whatever stands before the
 * last "@" goes: what was mistyped there may be a part of a password.
 */
export function maskUrl(url: string): string {
  const withoutCredentials = url
    .replace(/^([a-z][a-z0-9+.-]*:\/\/)?[^]*@/i, `$1${mask}:${mask}@`)
    .replace(/#.*$/s, '')
    // The last part of an RTMP path is the stream key.
    .replace(/^(rtmps?:\/\/[^/?]*\/(?:[^?]*\/)?)[^/?]+\/?/i, `$1${mask}`);
  const question = withoutCredentials.indexOf('?');
  if (question < 0) return withoutCredentials;
  const query = withoutCredentials.slice(question + 1).split('&');
  const hidden = query.map((part) =>
    part.includes('=') ? `${part.slice(0, part.indexOf('='))}=${mask}` : mask,
  );
  return `${withoutCredentials.slice(0, question)}?${hidden.join('&')}`;
}

/** A value as it may be shown: secrets and what is secret in addresses hidden. */
export function maskValue(key: string, value: unknown): unknown {
  if (value === '' || value === null) return value;
  if (keys.get(key)?.secret) return mask;
  if (keys.get(key)?.entries !== undefined) return (value as readonly object[]).map(maskEntry);
  if (Array.isArray(value)) return value.map((entry: unknown) => maskValue(key, entry));
  if (typeof value !== 'string') return value;
  return key.endsWith('.url') || (key === 'models.mirror' && /^https?:/i.test(value))
    ? maskUrl(value)
    : value;
}

/** A source of a list, whose keys hide what the single ones of `audio.*` hide. */
function maskEntry(entry: object): object {
  return Object.fromEntries(
    Object.entries(entry).map(([name, value]) => [name, maskValue(`audio.${name}`, value)]),
  );
}

/** The entries of a configuration as they may be shown. */
export function maskEntries(entries: readonly Entry[]): Entry[] {
  return entries.map((entry) => ({ ...entry, value: maskValue(entry.key, entry.value) }));
}

/** The configuration as it may be published: a JSON object, nested like the schema, secrets hidden. */
export function maskConfig(config: Config): Record<string, unknown> {
  return maskSection(config, '');
}

function maskSection(section: Record<string, unknown>, prefix: string): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(section).map(([name, value]) => {
      const key = prefix + name;
      return [
        name,
        keys.has(key) ? maskValue(key, value) : maskSection(value as Record<string, unknown>, `${key}.`),
      ];
    }),
  );
}

/** Every piece of text in the configuration that must not come up in a log: for the logger's `secrets`. */
export function secretsOf(config: Config): string[] {
  const found = [config.mqtt.password, config.mqtt.key];
  const { mqtt, audio, models } = config;
  const streams = [audio.url, ...audio.sources.map(({ url = '' }) => url)];
  for (const address of [...addressesOf(mqtt.url), ...streams, models.mirror]) {
    const url = parseUrl(address);
    if (!url) continue;
    found.push(url.password, credentialsOf(url)?.password ?? '', ...url.searchParams.values());
    if (url.password) found.push(url.username);
    if (/^rtmps?:$/.test(url.protocol)) found.push(url.pathname.split('/').filter(Boolean).pop() ?? '');
  }
  return [...new Set(found.filter((secret) => secret !== ''))];
}
