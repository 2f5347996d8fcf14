import type { CommandData } from '../../../src/mqtt/command-specs.js';
import type { StatePayload } from '../../../src/mqtt/contract.js';
import { startCli } from '../../../test/support/cli.js';
import { asFastAsTaken, endlessWav, inRealTime, startLiveServer } from '../../../test/support/live-server.js';
import { startRtspCamera } from '../../../test/support/rtsp-camera.js';
import { makeDataDir } from '../../../test/support/service.js';
import { tone } from '../../../test/support/tone-models.js';
import { skipWithout } from '../../../test/support/tools.js';
import { secondsUntil, until } from '../../../test/support/waiting.js';
import { stopsWell } from '../ending.js';
import type { Inject } from '../inject.js';
import { beeps, hears, RATE, startBroker, startRig, type Rig } from '../rig.js';
import type { Owner } from '../scope.js';
import { NotHere, type Verdict } from '../verdict.js';
import { growthMb } from './capture.js';

/* Several sources: what is wrong with one of them, or with how they are named. */

/** The recording of the rig, as one of several. */
const recording = (name: string) => ({ name, source: 'file', file: 'sound.wav' });

/** Live sound, which cannot wait: what is not answered in time is lost. */
const beeping = inRealTime(endlessWav(beeps(), RATE));

/** Resolves once each of them is heard. */
async function withSources(
  owner: Owner,
  ...list: readonly { name: string; [key: string]: unknown }[]
): Promise<Rig> {
  const broker = await startBroker(owner);
  const rig = await startRig(owner, {
    url: broker.url,
    settings: { AUDIO_SOURCE: '', AUDIO_FILE: '', AUDIO_SOURCES: JSON.stringify(list) },
  });
  for (const { name } of list) await tells(rig, name, 4);
  return rig;
}

const statusOf = ({ watcher }: Rig, source: string): string | undefined =>
  watcher.states.get(`source/${source}/audio/status`);

/** So many further windows of a source. */
async function tells({ watcher }: Rig, source: string, further: number, seconds = 30): Promise<void> {
  const wanted = watcher.windowsOf(source).told + further;
  await until(() => watcher.windowsOf(source).told >= wanted, `${further} windows of ${source}`, seconds);
}

function lostNothing({ watcher }: Rig, verdict: Verdict, ...names: readonly string[]): void {
  for (const name of names) {
    const { told, missing } = watcher.windowsOf(name);
    verdict.note(`${name}: ${told} windows, ${missing} missing`);
    verdict.hold(told > 0 && missing === 0, `${name} loses no window`);
  }
}

/** A start with these sources is refused; what is said has to fit. */
const refused =
  (sources: readonly object[], ...wanted: readonly RegExp[]): Inject =>
  async (owner, verdict) => {
    const dataDir = await makeDataDir(owner);
    const { child, ended } = startCli(['run'], {
      env: {
        SOUNDPOST_DATA_DIR: dataDir,
        SOUNDPOST_BROKER_PORT: '0',
        SOUNDPOST_AUDIO_SOURCES: JSON.stringify(sources),
      },
      cwd: dataDir,
    });
    owner.teardown(() => child.kill('SIGKILL'));
    const { code, stderr } = await ended;
    verdict.note(stderr.trim().split('\n').at(-1) ?? '');
    verdict.hold(code === 2, `exit code 2 (${code})`);
    for (const each of wanted) verdict.hold(each.test(stderr), `${each.source} is said`);
    verdict.hold(!/\n\s+at .*:\d+:\d+/.test(stderr), 'no stack');
    verdict.hold(!stderr.includes('s3cret'), 'no secret');
  };

const camera = (more: object) => ({ name: 'yard', url: 'rtsp://heidi:s3cret@192.0.2.1/yard', ...more });

export const sources = {
  'camera-dies': async (owner, verdict, limit) => {
    const missing = skipWithout('ffmpeg');
    if (missing !== false) throw new NotHere(missing);
    const server = await startLiveServer(owner, { kitchen: beeping });
    const manners = { sound: tone(500, 2, 8000, 0.3) };
    const first = await startRtspCamera('a:b', manners);
    owner.teardown(() => first.close());
    const url = `rtsp://a:b@127.0.0.1:${first.port}/s`;
    const rig = await withSources(
      owner,
      { name: 'kitchen', url: server.url('kitchen') },
      { name: 'yard', url },
    );
    const isYard = (status: string) => () => statusOf(rig, 'yard') === status;
    first.close();
    verdict.within(await secondsUntil(isYard('offline'), 30), 20, 'offline after');
    verdict.hold(rig.watcher.states.get('audio/status') === 'offline', 'B/audio/status is offline');
    const { data } = await rig.watcher.request('health');
    const { healthy, sources: each } = data as unknown as CommandData<'health'>;
    const ill = each!.filter(({ ok }) => !ok).map(({ name }) => name);
    verdict.hold(healthy && ill.join() === 'yard', `health is well and names yard (${ill.join()})`);
    await hears(rig.service, 1);
    const again = await startRtspCamera('a:b', { ...manners, port: first.port });
    owner.teardown(() => again.close());
    verdict.within(await secondsUntil(isYard('online'), limit), limit, 'sound after');
    await tells(rig, 'yard', 4);
    lostNothing(rig, verdict, 'kitchen');
    await stopsWell(rig, verdict);
  },
  'one-floods': async (owner, verdict) => {
    const missing = skipWithout('ffmpeg');
    if (missing !== false) throw new NotHere(missing);
    const flood = asFastAsTaken(endlessWav(tone(500, 2, RATE, 0.3), RATE));
    const server = await startLiveServer(owner, { flood, kitchen: beeping });
    const rig = await withSources(
      owner,
      { name: 'kitchen', url: server.url('kitchen') },
      { name: 'yard', url: server.url('flood') },
    );
    const before = {
      yard: rig.watcher.windowsOf('yard').told,
      kitchen: rig.watcher.windowsOf('kitchen').told,
    };
    const growth = await growthMb(rig, 20);
    const further = (name: keyof typeof before) => rig.watcher.windowsOf(name).told - before[name];
    verdict.note(`memory grew by ${growth.toFixed(0)} MB in 20 s`);
    verdict.hold(growth < 60, 'memory grows by less than 60 MB');
    verdict.note(`${further('yard')} windows of the flood, ${further('kitchen')} of the other`);
    verdict.hold(further('yard') <= 1.2 * further('kitchen') + 2, 'the flood is heard as fast as it sounds');
    lostNothing(rig, verdict, 'kitchen');
    await stopsWell(rig, verdict);
  },
  'sources-named-alike': refused(
    [camera({}), { name: 'yard', device: 'USB' }],
    /audio\.sources\[1\]\.name/,
    /audio\.sources\[0\]/,
  ),
  'source-no-slug': refused(
    [camera({ name: 'Front/Yard' })],
    /audio\.sources\[0\]\.name/,
    /lower-case letters/,
  ),
  'source-unknown-key': refused(
    [camera({ treshold: 0.4 })],
    /audio\.sources\[0\]\.treshold/,
    /did you mean threshold\?/,
  ),
  'source-unknown': async (owner, verdict) => {
    const rig = await withSources(owner, recording('kitchen'), recording('yard'));
    const { watcher } = rig;
    const settings = () => JSON.stringify(watcher.json<StatePayload>('state').sources);
    const before = settings();
    for (const [command, request] of [
      ['pause', {}],
      ['resume', {}],
      ['paused/set', { paused: true }],
      ['threshold/set', { value: 0.9 }],
      ['labels/set', { labels: ['Tone 1'] }],
      ['audio/set', { device: null }],
    ] as const) {
      const reply = await watcher.request(command, { ...request, source: 'yrad' });
      const isRight =
        reply.status === 'error' &&
        reply.error.code === 'source_unknown' &&
        /yard.*kitchen|kitchen.*yard/.test(reply.error.message);
      verdict.hold(isRight, `${command} is refused and names the sources`);
    }
    await tells(rig, 'kitchen', 4);
    verdict.hold(settings() === before, 'nothing was set');
    lostNothing(rig, verdict, 'kitchen', 'yard');
    await stopsWell(rig, verdict);
  },
} satisfies Record<string, Inject>;
