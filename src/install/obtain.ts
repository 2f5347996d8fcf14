import { lookup } from 'node:dns/promises';
import { mkdir, rm, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { SoundpostError } from '../common/errors.js';
import { isPublicAddress } from '../common/public-address.js';
import type { Catalogue, CatalogueEntry } from '../models/catalogue.js';
import {
  credentialsOf,
  CREDENTIALS_ADVICE,
  download,
  type DownloadRequest,
  type DownloadTuning,
} from './download.js';
import { digestOfFile } from '../models/files.js';
import { hostIsAmong, hostIsNamed, shownUrl } from './hosts.js';
import { boundDownloads, DOWNLOADS, whileLocked } from './staging.js';

/** Where checkpoints may come from: `models.*` of the configuration. */
export interface SourceSettings {
  /** Address prefix or folder that is asked in place of the original addresses; empty for none. */
  mirror: string;
  /** Hosts to download from; empty for those of the catalogue. */
  allowedHosts: readonly string[];
  /** Whether a network from an address needs a digest with it. */
  requireDigest: boolean;
}

/** A file that is here and is what it should be. */
export interface Obtained {
  path: string;
  sha256: string;
  bytes: number;
  /** Where it came from: an address without credentials, or a path. */
  origin: string;
  /** Removes it, where it was downloaded: it has been installed. */
  discard(): Promise<void>;
}

interface ObtainOptions {
  /** `<data_dir>/models`. */
  root: string;
  settings: SourceSettings;
  catalogue: Catalogue;
  tuning?: Partial<DownloadTuning> | undefined;
  /** The IP addresses of a host; the system's name service where left out. */
  resolveHost?: (host: string) => Promise<string[]>;
  onProgress?: (done: number, total: number | null) => void;
  signal?: AbortSignal | undefined;
}

/**
 * The checkpoint of a catalogue entry: from the mirror where one is set, else from its address, checked against
 * its digest.
 * @param accepted the SHA-256 that whoever asks has seen and trusts.
 * @throws SoundpostError `digest_unknown` where nobody knows a SHA-256 and one is required (the message has the one of
 * what came, and the file is kept), `digest_mismatch` (twice in a row; the file is removed), `no_address`, or an error of `download`.
 */
export async function obtainCheckpoint(
  entry: CatalogueEntry,
  accepted: string | undefined,
  options: ObtainOptions,
): Promise<Obtained> {
  const source = sourceOf(entry, options.settings);
  const sha256 = entry.sha256 ?? accepted ?? null;
  // Where a SHA-256 is known the weaker digest says nothing more.
  const md5 = entry.sha256 === null ? (entry.md5?.value ?? null) : null;
  if (entry.sha256 !== null && accepted !== undefined && accepted !== entry.sha256) {
    throw new SoundpostError(
      'digest_mismatch',
      `The SHA-256 of ${entry.file} is known to be ${entry.sha256}; ${accepted} was given.`,
    );
  }
  const file = await fetchFile(
    source,
    checkpointName(entry),
    { sha256, md5 },
    entry.bytes ?? entry.approximate_bytes,
    {
      ...options,
      // What is converted from it is about as large as it is.
      reserveBytes: Math.round(1.1 * (entry.bytes ?? entry.approximate_bytes)) + 64e6,
    },
  );
  if (sha256 === null && options.settings.requireDigest) throw digestUnknown(entry, file);
  return file;
}

/** What the checkpoint of a model of the catalogue is called while it is downloaded. */
export function checkpointName(entry: Pick<CatalogueEntry, 'id' | 'file'>): string {
  return `${entry.id}-${entry.file}`;
}

/** What a network from somewhere else is called while it is downloaded. */
export function networkName(id: string): string {
  return `${id}.onnx`;
}

/**
 * A network from an address that somebody sent.
 * @throws SoundpostError `host_not_allowed`, `digest_required`, `digest_mismatch`, or an error of `download`.
 */
export async function obtainFromAddress(
  address: string,
  name: string,
  sha256: string | null,
  options: ObtainOptions,
): Promise<Obtained> {
  const url = webAddress(address);
  const hosts = allowedHosts(options);
  if (!hostIsAmong(url, hosts)) {
    throw new SoundpostError(
      'host_not_allowed',
      `Models may not be downloaded from ${url.host}, only from ${hosts.join(', ')}. The list is models.allowed_hosts.`,
    );
  }
  if (sha256 === null && options.settings.requireDigest) {
    throw new SoundpostError(
      'digest_required',
      'A model from an address needs its SHA-256 ("sha256"), so that it is what was meant (models.require_digest).',
    );
  }
  if (sha256 === null && url.protocol === 'http:' && !hostIsNamed(url, options.settings.allowedHosts)) {
    throw new SoundpostError(
      'digest_required',
      `What comes over http:// can be changed by anybody on the way: use https://, send the SHA-256 of the file ("sha256"), or name ${url.hostname} itself in models.allowed_hosts.`,
    );
  }
  const permit = (next: URL) => refusePrivate(next, options);
  const more = { permit, reserveBytes: 64e6, refetch: sha256 === null };
  return fetchFile({ kind: 'url', url }, name, { sha256, md5: null }, null, { ...options, ...more });
}

/**
 * Whoever may send commands must not look around in the network of the device: unless the configuration names the
 * very host, it has to be one of the public internet. The name is looked up a second time for the request itself;
 * a server that answers differently then still has to show a certificate or bytes of the right digest, and nothing
 * of what it says is passed on.
 */
async function refusePrivate(
  url: URL,
  { settings, resolveHost = addressesOf }: ObtainOptions,
): Promise<void> {
  if (hostIsNamed(url, settings.allowedHosts)) return;
  const addresses = await resolveHost(url.hostname.replace(/^\[(.*)\]$/, '$1')).catch(() => []);
  // A name that cannot be looked up is for the request to report.
  const inside = addresses.find((address) => !isPublicAddress(address));
  if (inside === undefined) return;
  throw new SoundpostError(
    'host_not_allowed',
    `Models may not be downloaded from ${url.hostname}: it leads to ${inside}, which is not on the public internet. If that is right, name ${url.hostname} itself in models.allowed_hosts.`,
  );
}

async function addressesOf(host: string): Promise<string[]> {
  return (await lookup(host, { all: true })).map(({ address }) => address);
}

type Source = { kind: 'file'; path: string } | { kind: 'url'; url: URL };

function sourceOf(entry: CatalogueEntry, { mirror }: SourceSettings): Source {
  if (mirror === '') {
    if (entry.url !== null) return { kind: 'url', url: new URL(entry.url) };
    throw new SoundpostError(
      'no_address',
      `No address is known for ${entry.file}. Where you have it, install it with "npx soundpost models import ${entry.file} --architecture ${entry.architecture} --id ${entry.id}".`,
    );
  }
  if (!/^https?:\/\//i.test(mirror)) return { kind: 'file', path: resolve(mirror, entry.file) };
  return { kind: 'url', url: new URL(`${mirror.replace(/\/$/, '')}/${encodeURIComponent(entry.file)}`) };
}

/** The digests that a file should have; null where none is known. */
interface Expected {
  sha256: string | null;
  md5: string | null;
}

async function fetchFile(
  source: Source,
  name: string,
  expected: Expected,
  expectedBytes: number | null,
  options: ObtainOptions & {
    reserveBytes: number;
    permit?: (url: URL) => Promise<void>;
    /** What is here already is of no use: it may have come from another address. */
    refetch?: boolean;
  },
): Promise<Obtained> {
  if (source.kind === 'file') return fromFolder(source.path, expected);
  const { root, signal, onProgress, permit, refetch = false } = options;
  await mkdir(join(root, DOWNLOADS), { recursive: true });
  const path = join(root, DOWNLOADS, name);
  await boundDownloads(root, name);
  const request: DownloadRequest = {
    url: source.url,
    path,
    allowedHosts: allowedHosts(options),
    expectedBytes,
    reserveBytes: options.reserveBytes,
    ...(permit === undefined ? {} : { permit }),
    ...(onProgress === undefined ? {} : { onProgress }),
    ...(signal === undefined ? {} : { signal }),
  };
  return whileLocked(path, name, async () => {
    const discard = () => rm(path, { force: true });
    const describe = async (sha256: string) => ({
      path,
      sha256,
      bytes: (await stat(path)).size,
      origin: shownUrl(source.url),
      discard,
    });
    // Kept by an earlier call that nobody had a digest for.
    const isHere = !refetch && (await stat(path).catch(() => undefined)) !== undefined;
    if (isHere) {
      const kept = await examine(path, expected);
      if (kept.fault === null) return describe(kept.sha256);
    }
    let before: Examined | undefined;
    for (;;) {
      await discard();
      await download(request, options.tuning);
      const came = await examine(path, expected);
      if (came.fault === null) return describe(came.sha256);
      await discard();
      // Servers were seen to send another file now and then, which is gone at the next try.
      if (before !== undefined) throw mismatch(name, came.fault, againText(before, came));
      before = came;
    }
  });
}

async function fromFolder(path: string, expected: Expected): Promise<Obtained> {
  const found = await stat(path).catch(() => undefined);
  if (found?.isFile() !== true) {
    throw new SoundpostError(
      'download_refused',
      `${path} does not exist; models.mirror names the folder where checkpoints are looked for.`,
    );
  }
  const { sha256, fault } = await examine(path, expected);
  if (fault !== null) throw mismatch(path, fault, '');
  return { path, sha256, bytes: found.size, origin: path, discard: () => Promise.resolve() };
}

interface Examined {
  sha256: string;
  /** The digest that is not as it should be, or null. */
  fault: { kind: string; actual: string; expected: string } | null;
}

/** Compares the digests of a file with those that it should have. */
async function examine(path: string, expected: Expected): Promise<Examined> {
  const sha256 = await digestOfFile(path, 'sha256');
  const fault = (kind: string, actual: string, wanted: string | null) =>
    wanted === null || wanted === actual ? null : { kind, actual, expected: wanted };
  const wrong =
    fault('SHA-256', sha256, expected.sha256) ??
    (expected.md5 === null ? null : fault('MD5', await digestOfFile(path, 'md5'), expected.md5));
  return { sha256, fault: wrong };
}

function againText(first: Examined, second: Examined): string {
  return first.sha256 === second.sha256
    ? ' It was downloaded twice and was the same both times: the server has another file.'
    : ' It was downloaded twice, and was something else each time: the server or the network damages it.';
}

function mismatch(name: string, fault: NonNullable<Examined['fault']>, again: string): SoundpostError {
  return new SoundpostError(
    'digest_mismatch',
    `${name} is damaged or another file: its ${fault.kind} is ${fault.actual}, it should be ${fault.expected}.${again} It was not installed.`,
  );
}

function digestUnknown(entry: CatalogueEntry, file: Obtained): SoundpostError {
  const size =
    entry.bytes === null || entry.bytes === file.bytes
      ? ''
      : ` Beware: others saw ${entry.bytes} bytes, so this may be another file.`;
  const md5 =
    entry.md5 === null
      ? 'Nobody is known to have published a digest of it'
      : 'Its MD5 is the one that others have published, which shows that it arrived whole, not who made it';
  return new SoundpostError(
    'digest_unknown',
    `No SHA-256 is known for ${entry.id}. What came from ${file.origin}: ${entry.file}, ${file.bytes} bytes, SHA-256 ${file.sha256}.${size} ${md5}. It is kept; if you trust it, say so: npx soundpost models pull ${entry.id} --accept-digest ${file.sha256} (over MQTT: "sha256":"${file.sha256}").`,
  );
}

function allowedHosts({
  settings,
  catalogue,
}: Pick<ObtainOptions, 'settings' | 'catalogue'>): readonly string[] {
  return settings.allowedHosts.length > 0 ? settings.allowedHosts : catalogue.hosts;
}

function webAddress(address: string): URL {
  const url = URL.canParse(address) ? new URL(address) : undefined;
  if (url !== undefined && ['http:', 'https:'].includes(url.protocol)) {
    if (credentialsOf(url) !== undefined) return url;
    throw new SoundpostError('invalid_request', `url: ${CREDENTIALS_ADVICE}`);
  }
  throw new SoundpostError(
    'invalid_request',
    'url: has to be an address that begins with https:// or http://.',
  );
}
