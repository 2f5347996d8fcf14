import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { HealthReport } from '../../../src/service/health-file.js';
import type { InfoPayload, StatePayload, TelemetryPayload } from '../../../src/mqtt/contract.js';
import { canCrash, installBadModel, type BadModelKind } from '../../../test/support/bad-models.js';
import { cli } from '../../../test/support/cli.js';
import { readGoldenArchitecture } from '../../../test/support/golden-architectures.js';
import { makeDataDir } from '../../../test/support/service.js';
import { installToneModel } from '../../../test/support/tone-models.js';
import { writeSyntheticCheckpoint } from '../../../test/support/synthetic-checkpoint.js';
import { stopsWell } from '../ending.js';
import type { Inject } from '../inject.js';
import { childOf, startBroker, startRig, type Rig } from '../rig.js';
import type { Owner } from '../scope.js';
import { NotHere } from '../verdict.js';
import { secondsUntil, until } from '../../../test/support/waiting.js';
import type { Watcher } from '../watcher.js';

/* The model and the process that runs it. */

const restartsOf = (watcher: Watcher): number =>
  watcher.json<TelemetryPayload>('telemetry').inference?.restarts ?? 0;

async function toneRig(owner: Owner, prepare?: (dataDir: string) => Promise<unknown>): Promise<Rig> {
  const broker = await startBroker(owner);
  return startRig(owner, { url: broker.url, ...(prepare !== undefined && { prepare }) });
}

/** A model that works on silence and goes wrong with the first sound. */
const goesWrong =
  (kind: BadModelKind): Inject =>
  async (owner, verdict, limit) => {
    if (kind === 'crash-later' && !canCrash)
      throw new NotHere('no graph crashes its process on this processor');
    const rig = await toneRig(owner, (dataDir) => installBadModel(dataDir, kind));
    const { watcher } = rig;
    // Right after a sound there is time for a swap.
    await until(() => watcher.states.get('label/tone_0') === 'ON', 'the first sound', 20);
    await until(() => watcher.states.get('label/tone_0') === 'OFF', 'its end', 20);
    const reply = await watcher.request('model/set', { id: `bad-${kind}` });
    // A model that is found out before it is at work is as well.
    const begun = performance.now();
    if (reply.status === 'ok') {
      verdict.within(
        await secondsUntil(() => watcher.codes.includes('model_given_up'), limit),
        limit,
        'given up after',
      );
      verdict.within(
        await secondsUntil(() => watcher.json<StatePayload>('state').model === 'soundpost-home', limit),
        limit,
        'the bundled one at work after',
      );
    } else verdict.note(`refused at once: ${reply.error.code}`);
    await watcher.nextTags(3, 'tags', 30);
    verdict.within((performance.now() - begun) / 1000, limit, 'its tags after');
    await stopsWell(rig, verdict);
  };

/** Imports a checkpoint as a user does, harms one of the model's files, and asks for it. */
const harmed =
  (file: string, harm: (bytes: Buffer) => Buffer): Inject =>
  async (owner, verdict) => {
    const dataDir = await makeDataDir(owner);
    const golden = readGoldenArchitecture('mn01');
    const checkpoint = join(dataDir, 'weights.pt');
    await writeSyntheticCheckpoint(checkpoint, golden);
    const labels = join(dataDir, 'names.json');
    await writeFile(labels, JSON.stringify(Array.from({ length: 527 }, (_, index) => `Sound ${index}`)));
    const imported = await cli(
      ['models', 'import', checkpoint, '--architecture', 'mn01', '--id', 'own', '--labels', labels],
      { env: { SOUNDPOST_DATA_DIR: dataDir } },
    );
    if (imported.code !== 0) throw new Error(`the import ended with ${imported.code}: ${imported.stderr}`);
    const rig = await toneRigIn(owner, dataDir);
    verdict.hold(
      (await rig.watcher.request('model/set', { id: 'own' }, 60)).status === 'ok',
      'it works unharmed',
    );
    await rig.watcher.request('model/set', { id: 'tone-waveform' }, 60);
    const path = join(dataDir, 'models', 'own', file);
    await writeFile(path, harm(await readFile(path)));
    const reply = await rig.watcher.request('model/set', { id: 'own' }, 60);
    verdict.note(reply.status === 'error' ? `refused: ${reply.error.code}` : 'taken');
    verdict.hold(reply.status === 'error', 'refused');
    await rig.watcher.nextTags(3, 'tags of the old model', 15);
    verdict.hold(rig.watcher.json<StatePayload>('state').model === 'tone-waveform', 'the old model goes on');
    await stopsWell(rig, verdict);
  };

async function toneRigIn(owner: Owner, dataDir: string): Promise<Rig> {
  const broker = await startBroker(owner);
  return startRig(owner, { url: broker.url, dataDir, settings: { TAGGING_LABELS: '[]' } });
}

function flipped(bytes: Buffer): Buffer {
  const at = Math.floor(bytes.length / 2);
  bytes[at]! ^= 1;
  return bytes;
}

export const inference = {
  'inference-killed': async (owner, verdict, limit) => {
    const rig = await toneRig(owner);
    process.kill(await childOf(rig.service.pid, 'inference'), 'SIGKILL');
    verdict.within(await rig.watcher.nextTags(4, 'tags', limit).catch(() => null), limit, 'tags after');
    verdict.hold(
      (await secondsUntil(() => restartsOf(rig.watcher) > 0, 10)) !== null,
      'inference.restarts counts',
    );
    const dropped = rig.watcher.json<TelemetryPayload>('telemetry').windows?.dropped;
    verdict.note(`${dropped} windows dropped`);
    verdict.hold(dropped === 0, 'a file loses no window');
    await stopsWell(rig, verdict);
  },
  'inference-stopped': async (owner, verdict, limit) => {
    const rig = await toneRig(owner);
    for (let round = 1; round <= 2; round += 1) {
      process.kill(await childOf(rig.service.pid, 'inference'), 'SIGSTOP');
      const begun = performance.now();
      const unhealthy = await secondsUntil(async () => {
        const reply = await rig.watcher.request('health').catch(() => null);
        if (reply?.status !== 'ok') return false;
        const { checks } = reply.data as unknown as HealthReport;
        return checks.some(({ name, ok }) => name === 'inference' && !ok);
      }, 27);
      verdict.within(unhealthy, 27, 'health says so after');
      const passed = () => (performance.now() - begun) / 1000;
      const came = await rig.watcher.nextTags(2, 'tags', limit - passed()).catch(() => null);
      verdict.within(came === null ? null : passed(), limit, 'tags after');
      verdict.hold(
        rig.watcher.json<StatePayload>('state').model === 'tone-waveform',
        `the same model after ${round === 1 ? 'one hang' : 'a second hang'}`,
      );
    }
    await stopsWell(rig, verdict);
  },
  'model-hangs': goesWrong('hang-later'),
  'model-nan': goesWrong('nan-later'),
  'model-memory': goesWrong('memory-later'),
  'model-crashes': goesWrong('crash-later'),
  'model-file-damaged': harmed('model.onnx', flipped),
  'manifest-damaged': harmed('model.json', (bytes) =>
    Buffer.from(bytes.toString().replace(/("f_max": *)\d+/, '$114000')),
  ),
  'labels-damaged': harmed('labels.json', (bytes) =>
    Buffer.from(bytes.toString().replace('Sound 12"', 'Sounb 12"')),
  ),
  'title-too-long': async (owner, verdict) => {
    const rig = await startRig(owner, {
      url: null,
      prepare: async (dataDir) => {
        for (let n = 0; n < 16; n += 1) {
          const id = `long-${n}`;
          const { folder } = await installToneModel(dataDir, 'waveform', { id });
          const path = join(folder, 'model.json');
          const manifest = JSON.parse(await readFile(path, 'utf8')) as object;
          await writeFile(path, JSON.stringify({ ...manifest, title: `${n} ${'title '.repeat(10_300)}` }));
        }
      },
    });
    await until(() => rig.watcher.states.has('info'), 'B/info', 20);
    const bytes = Buffer.byteLength(rig.watcher.states.get('info')!);
    verdict.note(`B/info has ${(bytes / 1000).toFixed(0)} kB`);
    verdict.hold(bytes <= 65_536, 'B/info stays below 64 KiB');
    verdict.hold(
      (rig.watcher.json<InfoPayload>('info').models?.installed.length ?? 0) > 0,
      'and names models',
    );
    await rig.watcher.nextTags(3, 'tags', 15);
    verdict.hold(rig.watcher.states.get('status') === 'online', 'the connection holds');
    await stopsWell(rig, verdict);
  },
} satisfies Record<string, Inject>;
