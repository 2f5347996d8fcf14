import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as runtime from 'onnxruntime-node';
import t, { type Test } from 'tap';
import { silentLogger as log } from '../../src/common/log.js';
import { prepareModelInputs } from '../../src/inference/model-input.js';
import { optimizedFolderIn } from '../../src/inference/optimized-copy.js';
import { prepareStream, type PreparedStream } from '../../src/inference/prepare-stream.js';
import type { LoadStep, StreamWish } from '../../src/inference/protocol.js';
import { sessionOptions, type OnnxRuntime } from '../../src/inference/runtime.js';
import { createSessionSlot } from '../../src/inference/session-slot.js';
import { latestStreamRecord } from '../../src/inference/stream-record.js';
import { createRegistry } from '../../src/models/registry.js';
import { projectPath } from '../support/shared.js';
import { installStreamableModel, STREAMABLE_LABELS as LABELS } from '../support/streamable-model.js';
import { temporaryFolder } from '../support/temporary.js';

/* What becomes of a stream whose making fails, or is cut short. */

const WISH: StreamWish = {
  ...{ windowSeconds: null, hopSeconds: 0.5, leftEdge: 'exact', worthBelow: Infinity, worthAbove: 0 },
};

async function setUp(t: Test) {
  const dataDir = temporaryFolder(t);
  const id = await installStreamableModel(dataDir);
  const { manifest, onnxPath } = await createRegistry({
    ...{ bundledFolder: projectPath('models'), dataDir, log },
  }).get(id);
  const folder = optimizedFolderIn(dataDir);
  const createInput = await prepareModelInputs(manifest.input);
  const whole = createSessionSlot(() => runtime.InferenceSession.create(onnxPath, sessionOptions(1)));
  const request = {
    ...{ manifest, onnxPath, labelCount: LABELS, threads: 1, memoryBytes: 1e12 },
    ...{ optimizedFolder: folder, stream: WISH },
  };
  return {
    folder,
    whole,
    record: () => latestStreamRecord(folder, id),
    files: () => readdirSync(folder).filter((name) => !name.endsWith('.json')),
    /** @param create in place of the runtime's own, where a network is opened */
    load: (
      create?: () => Promise<never>,
      onProgress: (step?: LoadStep) => void = () => undefined,
      wish: StreamWish = WISH,
    ) =>
      prepareStream(
        {
          runtime: create === undefined ? runtime : withCreate(create),
          ...{ request, fixedWindow: false, createInput, whole, onProgress },
          hasRoomForBoth: () => true,
        },
        wish,
      ),
  };
}

function withCreate(create: () => Promise<never>): OnnxRuntime {
  return { ...runtime, InferenceSession: { create } };
}

const isStream = (prepared: PreparedStream | { reason: string }): prepared is PreparedStream =>
  'slot' in prepared;

t.test('a making that fails is tried again at the next load, and leaves nothing', async (t) => {
  const { load, record, files, whole } = await setUp(t);
  for (let time = 0; time < 3; time += 1) {
    const found = await load(() => Promise.reject(new Error('ENOSPC: no space left on device, write')));
    t.same(found, { reason: 'ENOSPC: no space left on device, write' });
    t.ok(whole.isOpen, 'the network for whole windows is there');
    t.same(files(), [], 'no draft is left to fill the disk');
    t.match(await record(), { reason: /ENOSPC/, untilMs: 0 });
  }
  const found = await load();
  t.ok(isStream(found));
  if (isStream(found)) await found.slot.release();
  t.match(await record(), { stream: { windowSamples: Number }, outputs: { scores: [1, LABELS] } });
});

t.test('a making that is cut short is tried again; where that is the rule, not before a day', async (t) => {
  const { load, record, folder } = await setUp(t);
  /** A load of which nothing is left but what there was when the making began: as where the process is killed in it. */
  async function killed(): Promise<void> {
    const left: [string, Buffer][] = [];
    const found = await load(undefined, (step) => {
      if (step !== 'making') return;
      for (const name of readdirSync(folder)) left.push([name, readFileSync(join(folder, name))]);
    });
    if (isStream(found)) await found.slot.release();
    t.ok(left.length > 0, 'it was being made');
    rmSync(folder, { recursive: true });
    mkdirSync(folder);
    for (const [name, bytes] of left) writeFileSync(join(folder, name), bytes);
  }

  await killed();
  t.match(await record(), { reason: 'it was tried, and the process ended', cutShort: 1 });
  await killed();
  t.match(await record(), { cutShort: 2 });
  t.same(await load(), { reason: 'it was tried, and the process ended' }, 'it is left alone after two');

  const { untilMs } = (await record()) as { untilMs: number };
  t.ok(untilMs > Date.now() + 23 * 3600_000);
});

t.test('one that was cut short once is there after the next load', async (t) => {
  const { load, record, folder } = await setUp(t);
  let name: string | undefined;
  let left: Buffer | undefined;
  const first = await load(undefined, (step) => {
    if (step !== 'making') return;
    name = readdirSync(folder).find((file) => file.endsWith('.stream.json'));
    left = readFileSync(join(folder, name!));
  });
  if (isStream(first)) await first.slot.release();
  rmSync(folder, { recursive: true });
  mkdirSync(folder);
  writeFileSync(join(folder, name!), left!);
  const second = await load();
  t.ok(isStream(second));
  if (isStream(second)) await second.slot.release();
  t.match(await record(), { stream: Object });
});

t.test('a stream that has failed in a window is left alone for a day', async (t) => {
  const { load, record, files } = await setUp(t);
  const found = await load();
  if (!isStream(found)) return void t.fail(found.reason);
  await found.slot.release();
  await found.failed('its output "scores" held NaN');
  t.same(files(), []);
  t.match(await record(), { reason: 'its output "scores" held NaN', untilMs: Number });
  t.same(await load(), { reason: 'its output "scores" held NaN' });
});

t.test('each form of the left edge is made, tried and kept for itself', async (t) => {
  const { load, record } = await setUp(t);
  const approximate: StreamWish = { ...WISH, leftEdge: 'stream' };
  for (const wish of [WISH, approximate, WISH, approximate]) {
    const made: (LoadStep | undefined)[] = [];
    const found = await load(undefined, (step) => made.push(step), wish);
    if (!isStream(found)) return void t.fail(found.reason);
    t.equal(found.stream.leftEdge, wish.leftEdge);
    const { scoreOff } = found.stream;
    if (wish.leftEdge === 'exact') t.ok(scoreOff <= 1e-5, `${scoreOff} off`);
    else t.ok(scoreOff > 1e-5 && scoreOff < 1, `${scoreOff} off`);
    await found.slot.release();
    t.match(await record(), { stream: { leftEdge: wish.leftEdge } }, 'the one in use is told of');
  }
});
