/*
 * The app for Home Assistant with what its Supervisor gives it: the form, the services' API, the microphone through
 * PulseAudio, and visitors from the Supervisor's address. Runs where there is nothing but loopback with the addresses
 * below, and writes what it found as JSON on the last line.
 *
 *   node app-run.js OPTIONS [IMAGE [WORD…]]   IMAGE: the app as a container of it (root only, `ADDRESSES` in a network
 *                                             of its own); WORD: of podman, before its command
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer, request, type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startMosquitto } from './broker.js';
import { noise, startPacedMicrophone } from './microphone.js';
import { createProbe } from './mqtt-probe.js';
import { projectPath } from './shared.js';
import { until } from './waiting.js';

/** Of the Supervisor's network: itself, the app, and another app. */
export const ADDRESSES = { supervisor: '172.30.32.2', app: '172.30.33.5', other: '172.30.33.9' } as const;
const LOGIN = { username: 'addons', password: 'of the services' } as const;
const TOKEN = 'a token of the Supervisor';
/** What the Supervisor waits, less two seconds. */
const STOP_MS = 8000;

/** Runs the arguments where everything of the disk but the data folder, `$0`, is read-only. */
const READ_ONLY = `mount --bind "$0" "$0" && mount -o remount,bind,ro / && cd "$0" || exit 9
if touch "$2" 2>/dev/null; then echo "the program can be written" >&2; exit 9; fi
exec "$@"`;

/** Where the app is, and what of it can be asked in the same way for a program and for a container. */
interface App {
  /** Says what the app says. */
  readonly child: ChildProcess;
  /** Exit code of the health check of the image. */
  health(): Promise<number | null>;
  /** What its container may do; for a program nothing is known. */
  rights?(): Promise<Rights>;
  /** Resolves with how it ended: on its own, or killed after `STOP_MS`. */
  stop(): Promise<{ code: number | null; signal: string | null }>;
}

/** What the Supervisor has made for an app. */
interface Given {
  folder: string;
  dataDir: string;
  /** Port of the Supervisor's API. */
  port: number;
  microphone: Readonly<Record<string, string>>;
}

interface Rights {
  /** Of each process: user, effective capabilities, program. */
  processes: string[];
  /** Exit code of an attempt to write beside the data. */
  write: number | null;
}

/** What was found. */
export interface AppRun {
  /** What the services' API was asked, and with what. */
  asked: { path: string; authorization: string | undefined }[];
  /** The page and its API through the ingress, and what another app gets: a status, or the code of an error. */
  page: { status: number; text: string; type: string | undefined };
  session: string;
  stranger: string;
  audio: string;
  info: { device: { id: string; name: string } };
  /** Entities that are described to Home Assistant. */
  components: string[];
  /** Exit code of the health check of the image, which knows nothing of the form. */
  health: number | null;
  rights: Rights | null;
  exit: { code: number | null; signal: string | null };
  /** From the signal to the end, in milliseconds. */
  stopMs: number;
  said: string;
}

const ended: (() => unknown)[] = [];

async function run(options: object, start: (given: Given) => Promise<App>): Promise<AppRun> {
  const folder = await mkdtemp(join(tmpdir(), 'soundpost-app-'));
  ended.push(() => rm(folder, { recursive: true, force: true }));
  const dataDir = join(folder, 'data');
  await mkdir(dataDir);
  await writeFile(join(dataDir, 'options.json'), JSON.stringify(options));

  const broker = await startMosquitto({ passwords: { [LOGIN.username]: LOGIN.password } });
  ended.push(() => broker.stop());
  const sampleRate = 48_000;
  const microphone = await startPacedMicrophone({
    samples: noise(30 * sampleRate),
    sampleRate,
    channels: 1,
  });
  ended.push(() => microphone.stop());

  const asked: AppRun['asked'] = [];
  const api = createServer((incoming, outgoing) => {
    const { authorization } = incoming.headers;
    asked.push({ path: incoming.url ?? '', authorization });
    outgoing.setHeader('content-type', 'application/json');
    const data = { ...LOGIN, host: '127.0.0.1', port: broker.port, ssl: false, protocol: '3.1.1' };
    outgoing.end(JSON.stringify({ result: 'ok', data }));
  });
  // The port of http, for those who know the Supervisor by its name; only root may have it.
  const isContainer = start !== startProgram;
  api.listen(isContainer ? 80 : 0, isContainer ? ADDRESSES.supervisor : '127.0.0.1');
  await once(api, 'listening');
  ended.push(() => api.close());

  const { port } = api.address() as AddressInfo;
  const { child, ...app } = await start({ folder, dataDir, port, microphone: microphone.env });
  let said = '';
  for (const stream of [child.stdout!, child.stderr!]) {
    stream.on('data', (chunk: Buffer) => (said += chunk.toString()));
  }

  const probe = await createProbe(broker.url, ['soundpost/home/#', 'homeassistant/#'], LOGIN);
  ended.push(() => probe.close());
  const topic = async (name: string, fits: (text: string) => boolean = () => true) => {
    try {
      return (await probe.next(name, ({ text }) => fits(text), 90_000)).text;
    } catch (error) {
      throw new Error(`${String(error)}; the app said:\n${said}`, { cause: error });
    }
  };
  const info = JSON.parse(await topic('soundpost/home/info')) as AppRun['info'];
  const audio = await topic('soundpost/home/audio/status', (text) => text === 'online');
  const described = JSON.parse(await topic('homeassistant/device/soundpost_home/config')) as {
    components: object;
  };

  let page: Answer = { status: 0, text: '', headers: {} };
  await until(
    async () => (page = await visit('/', ADDRESSES.supervisor).catch(() => page)).status === 200,
    () => `the page; the app said:\n${said}`,
    60,
    200,
  );
  const session = await visit('/api/session', ADDRESSES.supervisor);
  const stranger = await visit('/', ADDRESSES.other).then(
    ({ status }) => String(status),
    (error: unknown) => (error as NodeJS.ErrnoException).code ?? 'an error',
  );
  const health = await app.health();
  const rights = (await app.rights?.()) ?? null;

  const before = performance.now();
  const exit = await app.stop();
  const stopMs = Math.round(performance.now() - before);
  return {
    asked,
    page: { status: page.status, text: page.text.slice(0, 300), type: page.headers['content-type'] },
    session: session.text,
    stranger,
    audio,
    info,
    components: Object.keys(described.components),
    health,
    rights,
    exit,
    stopMs,
    said,
  };
}

/** The app as a program of this machine, in a folder that is laid out as the image is. */
async function startProgram({ folder, dataDir, port, microphone }: Given): Promise<App> {
  // As in the image: the program, and the app beside it.
  await cp(projectPath('deploy/home-assistant/soundpost'), join(folder, 'home-assistant'), {
    recursive: true,
  });
  await symlink(projectPath('dist'), join(folder, 'dist'));
  await writeFile(join(folder, 'package.json'), '{"type":"module"}');
  const program = join(folder, 'home-assistant', 'run.js');
  const child = spawn('unshare', ['--mount', 'sh', '-c', READ_ONLY, dataDir, process.execPath, program], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      PATH: process.env['PATH'],
      NODE_ENV: 'production',
      SOUNDPOST_DATA_DIR: dataDir,
      SOUNDPOST_APP_CONFIG: folder,
      SUPERVISOR_API: `http://127.0.0.1:${port}`,
      SUPERVISOR_TOKEN: TOKEN,
      ...microphone,
    },
  });
  const gone = once(child, 'exit') as Promise<[number | null, string | null]>;
  ended.push(() => child.kill('SIGKILL'));
  return {
    child,
    async health() {
      const check = spawn(process.execPath, [join(folder, 'dist', 'src', 'main.js'), 'health'], {
        cwd: dataDir,
        stdio: 'ignore',
        env: { PATH: process.env['PATH'], SOUNDPOST_DATA_DIR: dataDir },
      });
      const [code] = (await once(check, 'exit')) as [number | null];
      return code;
    },
    async stop() {
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
      const [code, signal] = await gone;
      clearTimeout(timer);
      return { code, signal };
    },
  };
}

/** As the Supervisor writes them for every app that has `audio` (its templates asound.tmpl and pulse-client.tmpl). */
const ASOUND = `pcm.!default {
  type pulse
  hint {
    show on
    description "Default ALSA Output (currently PulseAudio Sound Server)"
  }
}

ctl.!default {
  type pulse
}
`;
const PULSE_CLIENT = `default-server = unix:/run/audio/pulse.sock
autospawn = no
daemon-binary = /bin/true
enable-shm = false
`;

/** The app as a container, with the mounts and variables that the Supervisor gives it, and a root that is read-only. */
function startContainer(image: string, words: readonly string[]) {
  const podman = async (...command: string[]) => {
    const child = spawn('podman', [...words, ...command], { stdio: ['ignore', 'pipe', 'ignore'] });
    let said = '';
    child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
    const [code] = (await once(child, 'close')) as [number | null];
    return { code, said };
  };
  return async ({ folder, dataDir, microphone }: Given): Promise<App> => {
    await writeFile(join(folder, 'asound.conf'), ASOUND);
    await writeFile(join(folder, 'client.conf'), PULSE_CLIENT);
    await mkdir(join(folder, 'config'));
    const name = 'soundpost-app';
    const mounts = [
      `${dataDir}:/data`,
      `${join(folder, 'config')}:/config:ro`,
      `${join(microphone['XDG_RUNTIME_DIR']!, 'native')}:/run/audio/pulse.sock`,
      `${join(folder, 'asound.conf')}:/etc/asound.conf:ro`,
      `${join(folder, 'client.conf')}:/etc/pulse/client.conf:ro`,
    ];
    const child = spawn(
      'podman',
      [
        ...words,
        'run',
        '--name',
        name,
        '--network',
        'host',
        '--add-host',
        `supervisor:${ADDRESSES.supervisor}`,
      ]
        .concat(['--read-only', '--read-only-tmpfs=false', '--tmpfs', '/tmp'])
        .concat(['--env', `SUPERVISOR_TOKEN=${TOKEN}`, '--env', 'TZ=UTC'])
        .concat(mounts.flatMap((mount) => ['--volume', mount]))
        .concat(image),
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    const gone = once(child, 'exit') as Promise<[number | null, string | null]>;
    ended.push(() => podman('rm', '--force', '--time', '0', name));
    return {
      child,
      health: async () => (await podman('exec', name, 'soundpost', 'health')).code,
      async rights() {
        const { said } = await podman('top', name, 'user', 'capeff', 'comm');
        const { code: write } = await podman('exec', name, 'touch', '/app/probe');
        return { processes: said.trim().split('\n').slice(1), write };
      },
      async stop() {
        await podman('stop', '--time', String(STOP_MS / 1000), name);
        const [code, signal] = await gone;
        return { code, signal };
      },
    };
  };
}

interface Answer {
  status: number;
  text: string;
  headers: IncomingHttpHeaders;
}

/** As the Supervisor passes on what a browser asks for: without its own path, which is in a header. */
async function visit(path: string, from: string): Promise<Answer> {
  const sent = request({
    host: ADDRESSES.app,
    port: 8099,
    path,
    localAddress: from,
    headers: { 'x-ingress-path': '/api/hassio_ingress/a-token', host: 'home.example:8123' },
  });
  sent.end();
  const [answer] = (await once(sent, 'response')) as [IncomingMessage];
  let text = '';
  for await (const chunk of answer) text += String(chunk);
  return { status: answer.statusCode ?? 0, text, headers: answer.headers };
}

const [, , options, image, ...words] = process.argv;
if (options !== undefined) {
  const start = image === undefined ? startProgram : startContainer(image, words);
  try {
    const found = await run(JSON.parse(options) as object, start);
    process.stdout.write(`${JSON.stringify(found)}\n`);
  } finally {
    for (const end of ended.reverse()) await end();
  }
}
