import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { hasMosquitto } from '../../src/bench/broker-process.js';
import { runService } from '../../tools/bench/service-run.js';
import { benchSources } from '../../tools/bench/sources-bench.js';
import { runSources } from '../../tools/bench/sources-run.js';
import { projectRoot } from '../../src/common/project.js';
import { writeWav } from '../support/service.js';
import { installToneModel, tone } from '../support/tone-models.js';

/** What both ways of measuring are given; the model is in `models` below the folder `under`. */
async function prepare(test: Test, under: string) {
  const folder = test.testdir();
  const model = await installToneModel(join(folder, under), 'waveform');
  const recording = join(folder, 'tone.wav');
  await writeWav(recording, tone(model.tonesHz[0]!, 2, 16_000), 16_000);
  const said: string[] = [];
  const common = {
    program: join(projectRoot(), 'dist', 'src', 'main.js'),
    folder,
    modelId: model.id,
    windowSeconds: 1,
    recording,
    rateHz: 4,
    seconds: 2,
    signal: new AbortController().signal,
    progress: (message: string) => said.push(message),
  };
  return { folder, said, model, common };
}

t.test(
  'the service is measured as a whole, from the outside',
  { skip: process.platform !== 'linux' },
  async (test) => {
    const { folder, said, common } = await prepare(test, 'data');
    const options = { ...common, eventLoop: true };
    const run = await runService({ ...options, broker: hasMosquitto() ? 'mosquitto' : 'embedded' });
    test.match(run, { hops: 8, windowsDropped: 0, latencyMs: { count: Number, p50: Number } });
    test.equal(run.processes.length, 3, 'the service, its inference process, and the leash of that');
    test.ok(run.cpuMsPerHop > 0);
    test.ok(run.memory.rssMb! > 50 && run.memory.pssMb! < run.memory.rssMb!);
    test.ok(run.eventLoopDelayMs!.p50 <= run.eventLoopDelayMs!.p99);
    test.ok(run.eventLoopDelayMs!.p99 <= run.eventLoopDelayMs!.max);
    test.match(said.join('\n'), /waiting .*\n.*measuring .*\nstopping/);

    await mkdir(join(folder, 'broken'));
    await test.rejects(
      runService({ ...options, folder: join(folder, 'broken'), program: '/nowhere.js', broker: 'embedded' }),
      { code: 'bench_service', message: /the service ended.*ERR_MODULE_NOT_FOUND/s },
      'a service that does not start is reported with its last words',
    );

    await mkdir(join(folder, 'interrupted'));
    const over = new AbortController();
    const interrupted = runService({
      ...options,
      folder: join(folder, 'interrupted'),
      broker: 'embedded',
      signal: over.signal,
      progress: () => over.abort(new Error('enough')),
    });
    await test.rejects(interrupted, { message: 'enough' }, 'an interrupt stops what was started');
  },
);

t.test('one source and two are measured in turns', { skip: process.platform !== 'linux' }, async (test) => {
  const { folder, said, model, common } = await prepare(test, 'installed');
  const { recording } = common;
  const options = {
    ...common,
    modelFolder: model.folder,
    settleSeconds: 0,
    sources: 2,
    rounds: 1,
    onlySources: true,
    broker: hasMosquitto() ? ('mosquitto' as const) : ('embedded' as const),
  };
  const [round] = await benchSources(options);
  test.same(said, ['round 1 of 1: one source', 'round 1 of 1: several sources']);
  test.match(round, { camera: null, quiet: null, idle: null });
  const { one, several } = round!;
  test.match(
    several.sources.map(({ name }) => name),
    ['source1', 'source2'],
  );
  for (const run of [one, several]) {
    test.ok(run.sources.every(({ answered }) => answered >= 7));
    test.equal(
      run.windows,
      run.sources.reduce((sum, { answered }) => sum + answered, 0),
    );
    test.ok(run.sources.every(({ latencyMs }) => latencyMs.p50 <= latencyMs.p95));
    test.ok(run.parts.service.cpuMs > 0 && run.parts.service.rssMb! > 50);
    test.ok(run.parts.inference.rssMb! > 20);
    test.match(run.parts.ffmpeg, { cpuMs: 0, rssMb: 0 });
  }

  await mkdir(join(folder, 'broken'));
  const sources = [{ name: 'a', source: 'file', file: recording }];
  await test.rejects(
    runSources({
      ...options,
      sources,
      idleBelowDbfs: null,
      folder: join(folder, 'broken'),
      program: '/nowhere.js',
    }),
    { code: 'bench_service', message: /with a failed: .*ERR_MODULE_NOT_FOUND/s },
    'a service that does not start is reported with its last words',
  );
});
