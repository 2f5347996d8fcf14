import { join } from 'node:path';
import type { Test } from 'tap';
import { contract, epochMs, type EventPayload, type TagsPayload } from '../../src/mqtt/contract.js';
import { commandErrors, commonErrors } from '../../tools/docs/mqtt/errors.js';
import { freePort } from './broker.js';
import {
  createConsole,
  descendants,
  makeDataDir,
  nothingLeft,
  startService,
  writeWav,
  type Console,
  type Reply,
  type ServiceProcess,
  type Settings,
} from './service.js';
import { installToneModel, tone } from './tone-models.js';

/*
 * A service that hears tones, with the console beside it, and what must be true of everything that it publishes.
 */

const RATE = 16_000;

/** Quiet, then tone 0, then quiet; `seconds` in all. */
export function beep(seconds: number, amplitude: number): Float32Array {
  const sound = tone(3100, seconds, RATE, 0.01);
  sound.set(tone(500, 1.5, RATE, amplitude), RATE / 2);
  return sound;
}

export interface Started {
  service: ServiceProcess;
  console: Console;
  dataDir: string;
  id: string;
  url: string;
  /** Starts it again with the same data, and with other settings. */
  again: (changes?: Settings) => Promise<Started>;
}

let devices = 0;

/** A service with the tone detector, on the broker at `url` or on its own one. */
export async function start(
  t: Test,
  url: string | null,
  settings: Settings,
  prepare: (dataDir: string) => Promise<unknown> = () => Promise.resolve(),
  env: Readonly<Record<string, string>> = {},
  flags: readonly string[] = [],
): Promise<Started> {
  const dataDir = await makeDataDir(t);
  await installToneModel(dataDir, 'waveform');
  await prepare(dataDir);
  devices += 1;
  const id = `device${devices}`;
  const run = async (changes: Settings = {}): Promise<Started> => {
    const port = await freePort();
    const all = {
      DATA_DIR: dataDir,
      DEVICE_ID: id,
      MODEL_ID: 'tone-waveform',
      HOMEASSISTANT_ENABLED: 'false',
      // A test must not depend on how hot the machine is that it runs on.
      ...(settings['TELEMETRY_SYS_ROOT'] === undefined && { THERMAL_ENABLED: 'false' }),
      ...(url === null ? { BROKER_PORT: String(port) } : { MQTT_URL: url }),
      ...settings,
      ...changes,
    };
    const at = url ?? `mqtt://127.0.0.1:${port}`;
    const early = url === null ? null : await createConsole(t, at, id);
    const service = startService(t, all, env, flags);
    if (url === null) await service.line(({ message }) => message.startsWith('Read along'));
    const console = early ?? (await createConsole(t, at, id));
    await console.word('status', (text) => text === 'online');
    return { service, console, dataDir, id, url: at, again: run };
  };
  return run();
}

/** For `start`: the sound that `looped` plays. */
export const sound = (samples: Float32Array) => (dataDir: string) =>
  writeWav(join(dataDir, 'sound.wav'), samples, RATE);
export const looped: Settings = { AUDIO_SOURCE: 'file', AUDIO_FILE: 'sound.wav', AUDIO_LOOP: 'true' };

/** What among everything that was published does not keep the contract. */
export function breaches({ base, messages }: Console): string[] {
  const outgoing = Object.values(contract).filter(({ direction }) => direction === 'out');
  return messages.flatMap(({ topic, text }) => {
    const path = topic.slice(base.length + 1);
    const spec = outgoing.find(({ template }) =>
      new RegExp(`^${template.replace(/<\w+>/g, '.+')}$`).test(path),
    );
    // What is cleared is no message.
    if (text === '' && spec?.retain === true) return [];
    if (spec === undefined)
      return /^request\/|^(source\/[^/]+\/)?\w+\/set$/.test(path) ? [] : [`${topic}: not in the contract`];
    const code = path.startsWith('response/') && (JSON.parse(text) as Partial<Reply>).error?.code;
    if (code && !codesOf(path.replace(/^response\//, '')).includes(code)) {
      return [`${topic}: the code ${code} is not documented`];
    }
    const checked = spec.schema.safeParse(spec.format === 'json' ? JSON.parse(text) : text);
    return checked.success ? [] : [`${topic}: ${checked.error.message} in ${text}`];
  });
}

/** The codes that are documented for a command. */
function codesOf(command: string): readonly string[] {
  const own: Partial<Record<string, readonly string[]>> = commandErrors;
  return [...commonErrors, ...(own[command] ?? [])];
}

/**
 * Numbers that are missing in the row of windows.
 * @param source of one of several
 */
export function gaps(console: Console, source?: string): number[] {
  const topic = source === undefined ? 'tags' : `source/${source}/tags`;
  const seqs = console.all<TagsPayload>(topic).map(({ seq }) => seq);
  return seqs.flatMap((seq, index) => (index > 0 && seq !== seqs[index - 1]! + 1 ? [seq] : []));
}

/** Events without their other half, and ends before beginnings. */
export function unpaired(console: Console): string[] {
  const open = new Map<string, EventPayload>();
  const wrong: string[] = [];
  for (const event of console.all<EventPayload>('event')) {
    const begun = open.get(event.id);
    if (event.event_type === 'started') open.set(event.id, event);
    else if (begun === undefined && epochMs(event.started_at) < console.since) continue;
    else if (begun === undefined || event.label !== begun.label) wrong.push(`${event.id} ends unbegun`);
    else open.delete(event.id);
  }
  return [...wrong, ...[...open.values()].map(({ label }) => `${label} has no end`)];
}

/** After a stop: every label that was ever on is off. */
export function stillOn(console: Console): string[] {
  const last = new Map<string, string>();
  for (const { topic, text } of console.messages) {
    if (/^(source\/[^/]+\/)?label\//.test(topic.slice(console.base.length + 1))) last.set(topic, text);
  }
  // A topic that was cleared says nothing.
  return [...last].filter(([, text]) => text !== 'OFF' && text !== '').map(([topic]) => topic);
}

export const windowMs = ({ window }: TagsPayload) => epochMs(window.end) - epochMs(window.start);

export async function stopsCleanly(t: Test, { service, console }: Started): Promise<void> {
  const children = await descendants(service.pid);
  const started = Date.now();
  service.signal('SIGTERM');
  t.equal(await service.exited, 0, 'exit code');
  t.ok(Date.now() - started < 8000, 'within 8 s');
  await console.word('status', (text) => text === 'offline');
  await nothingLeft(t, children);
  t.strictSame(stillOn(console), []);
  t.strictSame(unpaired(console), []);
  t.strictSame(breaches(console), []);
}

/** A page on a free port; see `pagePort`. */
export const withPage: Settings = { WEB_ENABLED: 'true', WEB_PORT: '0' };

/** The port of the page of a service, once it is open. */
export async function pagePort(service: Pick<ServiceProcess, 'line'>): Promise<number> {
  const { message } = await service.line((line) => line.message.startsWith('The page of this device: '));
  return Number(new URL(message.slice('The page of this device: '.length)).port);
}
