import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { createInterface } from 'node:readline';
import { z } from 'zod';
import { freePort } from './broker.js';
import { connectClient, type HomeClient } from './home-assistant-client.js';
import { projectPath } from './shared.js';
import { until } from './waiting.js';

/*
 * The real Home Assistant, as tools/home-assistant/install.sh lays it down: a fresh configuration, a first user and
 * the MQTT integration, both made through its own interfaces.
 */

/** A line of its log. */
export interface HomeLine {
  level: string;
  logger: string;
  /** With the lines of a traceback behind it. */
  text: string;
}

export interface HomeProgram {
  readonly version: string;
  /** Of its interfaces and its pages, and the key to both. */
  readonly url: string;
  readonly token: string;
  /** Of the last start. */
  readonly client: HomeClient;
  /** Of all starts. */
  readonly lines: readonly HomeLine[];
  /** Ends it in order; SIGKILL: as a power cut does. */
  stop(signal?: 'SIGTERM' | 'SIGKILL'): Promise<void>;
  /** Starts it again with all that it knows; resolves once it is up, and MQTT is set up. */
  start(): Promise<void>;
}

const FOLDER = process.env['SOUNDPOST_TEST_HOMEASSISTANT'] ?? '';

/** A reason to skip, or false where Home Assistant is installed. */
export const skipWithoutHome =
  FOLDER !== '' && existsSync(join(FOLDER, 'version'))
    ? (false as const)
    : 'npm run test:homeassistant installs Home Assistant';

const tokenSchema = z.object({ access_token: z.string() });
const flowSchema = z.object({
  type: z.string(),
  flow_id: z.string(),
  errors: z.record(z.string(), z.string()).nullish(),
});

/** What is in the entry of an integration, of what is looked at here. */
const entriesSchema = z.array(z.object({ domain: z.string(), state: z.string() }));

/** What is in its configuration, further than MQTT. */
export interface HomeOptions {
  /** YAML, for `automation:`. */
  automations?: string;
  /** Whether the blueprints of this project are there, as if they had been imported. */
  blueprints?: boolean;
  /** Further integrations that need no settings. */
  integrations?: readonly string[];
}

/** It ends with the test. */
export async function startHome(
  t: { teardown(handler: () => Promise<unknown>): void },
  options: HomeOptions & { brokerPort: number },
): Promise<HomeProgram> {
  const configurations = join(FOLDER, 'root', 'srv');
  await mkdir(configurations, { recursive: true });
  const folder = await mkdtemp(join(configurations, 'test-'));
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  await writeFile(join(folder, 'configuration.yaml'), configuration(port, options.integrations));
  await writeFile(join(folder, 'automations.yaml'), options.automations ?? '[]\n');
  if (options.blueprints === true) {
    await cp(projectPath('deploy/home-assistant/blueprints'), join(folder, 'blueprints'), {
      recursive: true,
    });
  }
  const lines: HomeLine[] = [];
  let child: ChildProcess | null = null;
  let client: HomeClient | null = null;
  let token: string | null = null;

  async function launch(): Promise<void> {
    child = spawn(join(FOLDER, 'start'), [basename(folder)], { stdio: ['ignore', 'pipe', 'pipe'] });
    let isGone = false;
    child.once('exit', () => (isGone = true));
    for (const stream of [child.stdout!, child.stderr!]) {
      createInterface({ input: stream }).on('line', (text) => takeLine(lines, text));
    }
    await until(
      async () => {
        if (isGone) throw new Error(`Home Assistant ended; it said:\n${tail(lines)}`);
        const answer = await fetch(`${url}/manifest.json`).catch(() => null);
        return answer?.ok === true;
      },
      () => `Home Assistant at ${url}; it said:\n${tail(lines)}`,
      180,
      200,
    );
    token ??= await firstUser(url);
    client = await connectClient(url, token);
  }

  const isSetUp = async () => {
    const entries = entriesSchema.parse(await client?.ask('config_entries/get', { domain: 'mqtt' }));
    return entries.some(({ state }) => state === 'loaded');
  };
  const running: HomeProgram = {
    version: readFileSync(join(FOLDER, 'version'), 'utf8').trim(),
    url,
    get token() {
      return token!;
    },
    get client() {
      return client!;
    },
    lines,
    async stop(signal = 'SIGTERM') {
      client?.close();
      if (child === null || child.exitCode !== null || child.signalCode !== null) return;
      const gone = once(child, 'exit');
      child.kill(signal);
      const timer = setTimeout(() => child?.kill('SIGKILL'), 60_000);
      await gone;
      clearTimeout(timer);
    },
    start: launch,
  };
  t.teardown(async () => {
    await running.stop();
    await rm(folder, { recursive: true, force: true });
  });
  await launch();
  await keepAddress(client!);
  await addBroker(url, token!, options.brokerPort);
  await until(isSetUp, 'the MQTT integration', 60);
  return running;
}

/** Not `default_config`, which wants the internet. */
function configuration(port: number, further: readonly string[] = []): string {
  return `homeassistant:
  name: Home
  time_zone: UTC
  unit_system: metric
http:
  server_host: 127.0.0.1
  server_port: ${port}
recorder:
  commit_interval: 1
history:
config:
automation: !include automations.yaml
logger:
  default: info
${further.map((name) => `${name}:\n`).join('')}`;
}

function takeLine(lines: HomeLine[], text: string): void {
  const head = /^\d{4}-\S+ \S+ ([A-Z]+) \([^)]*\) \[([^\]]+)\] (.*)$/.exec(text);
  if (head !== null) {
    lines.push({ level: head[1]!, logger: head[2]!, text: head[3]! });
    return;
  }
  const last = lines.at(-1);
  if (last !== undefined) last.text += `\n${text}`;
}

function tail(lines: readonly HomeLine[]): string {
  return lines
    .slice(-30)
    .map(({ level, logger, text }) => `${level} [${logger}] ${text}`)
    .join('\n');
}

/** Passes the onboarding, and makes a token that lasts. */
async function firstUser(url: string): Promise<string> {
  const clientId = `${url}/`;
  const { auth_code: code } = z.object({ auth_code: z.string() }).parse(
    await post(`${url}/api/onboarding/users`, null, {
      client_id: clientId,
      name: 'Owner',
      username: 'owner',
      password: 'not a secret',
      language: 'en',
    }),
  );
  const answer = await fetch(`${url}/auth/token`, {
    method: 'POST',
    body: new URLSearchParams({ grant_type: 'authorization_code', code, client_id: clientId }),
  });
  const { access_token: token } = tokenSchema.parse(await answer.json());
  await post(`${url}/api/onboarding/core_config`, token, {});
  await post(`${url}/api/onboarding/analytics`, token, {});
  await post(`${url}/api/onboarding/integration`, token, { client_id: clientId, redirect_uri: clientId });
  const client = await connectClient(url, token);
  const lasting = await client.ask('auth/long_lived_access_token', { client_name: 'tests', lifespan: 1 });
  client.close();
  return z.string().parse(lasting);
}

/** Otherwise it takes an address that was set for a mistake, and goes back to its own after five minutes. */
async function keepAddress(client: HomeClient): Promise<void> {
  await client.ask('http/config/promote').catch((error: unknown) => {
    // Home Assistant before 2026 does not ask; a later one may have nothing to ask.
    if (!/unknown_command|not_allowed/.test(String(error))) throw error;
  });
}

/** Adds the MQTT integration as somebody who clicks: through its form. */
async function addBroker(url: string, token: string, brokerPort: number): Promise<void> {
  const flows = `${url}/api/config/config_entries/flow`;
  const begun = flowSchema.parse(await post(flows, token, { handler: 'mqtt' }));
  const ended = flowSchema.parse(
    await post(`${flows}/${begun.flow_id}`, token, {
      broker: '127.0.0.1',
      port: brokerPort,
      protocol: '5',
      other_settings: { set_client_cert: false, set_ca_cert: 'off', transport: 'tcp' },
    }),
  );
  if (ended.type !== 'create_entry') throw new Error(`MQTT was not set up: ${JSON.stringify(ended)}`);
}

async function post(url: string, token: string | null, body: object): Promise<unknown> {
  const answer = await fetch(url, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      ...(token === null ? {} : { authorization: `Bearer ${token}` }),
    },
    body: JSON.stringify(body),
  });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${new URL(url).pathname} answered ${answer.status}: ${text}`);
  return JSON.parse(text) as unknown;
}

/** What its log says of us, or of what came over MQTT, at warning or above. */
export function complaintsAbout(lines: readonly HomeLine[]): string[] {
  return lines
    .filter(({ level }) => ['WARNING', 'ERROR', 'CRITICAL'].includes(level))
    .filter(({ logger, text }) => /mqtt|soundpost/i.test(`${logger} ${text}`))
    .map(({ level, logger, text }) => `${level} [${logger}] ${text}`);
}
