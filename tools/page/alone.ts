import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setImmediate as turn } from 'node:timers/promises';
import { silentLogger } from '../../src/common/log.js';
import { isoTime, type TagsPayload } from '../../src/mqtt/contract.js';
import type { SpectrogramColumns } from '../../src/web/spectrogram.js';
import { createWeb, type Web } from '../../src/web/web.js';

/*
 * The page's server by itself, without a service around it that costs ten times as much and not always the same: what
 * a window costs this process when nobody looks on, and when one does. The viewer is another process.
 */

/** CPU per window, in ms. */
export interface AloneCost {
  nobody: number;
  feed: number;
  spectrogram: number;
}

const WINDOWS = 5000;
/** What is new with a window at 1 Hz: a second of columns, 10 ms apart. */
const COLUMNS = 100;
const BANDS = 128;

/** Reads until it is ended. */
const VIEWER = `fetch(process.argv[1]).then(async ({ body }) => {
  process.stdout.write('begun');
  for await (const part of body) void part;
});`;

export async function measureAlone(): Promise<AloneCost> {
  let onColumns: ((columns: SpectrogramColumns) => void) | null = null;
  const web = createWeb({
    host: '127.0.0.1',
    port: 0,
    pageFolder: null,
    openApiFile: null,
    execute: () => Promise.resolve({ status: 'ok', data: {} }),
    spectrogram: {
      watch(_, handler) {
        onColumns = handler;
        return () => (onColumns = null);
      },
    },
    log: silentLogger,
  });
  const { url } = await web.start();
  const columns = noise();
  try {
    const tell = (seq: number) => publish(web, seq);
    await cpuOf(tell);
    const nobody = await cpuOf(tell);
    const feed = await watched(new URL('api/feed', url), () => cpuOf(tell));
    const show = () => onColumns?.({ startMs: Date.now(), columnMs: 10, bands: BANDS, values: columns });
    const spectrogram = await watched(new URL('api/spectrogram', url), () => cpuOf(show));
    return { nobody, feed, spectrogram };
  } finally {
    await web.stop();
  }
}

function noise(): Float32Array {
  return Float32Array.from({ length: COLUMNS * BANDS }, (_, n) => ((n * 7919) % 1009) / 10);
}

/** What is told with a window: its tags and, now and then, how loud it is. */
function publish(web: Pick<Web, 'publish'>, seq: number): void {
  const tag = (n: number) => ({
    label: `Sound of a thing, no. ${n}`,
    mid: '/m/0bt9lr',
    score: ((seq + n) % 97) / 97,
  });
  const ts = isoTime(1_767_225_600_000 + seq * 1000);
  const payload: TagsPayload = {
    ts,
    seq,
    model: 'soundpost-home',
    window: { start: ts, end: ts },
    tags: Array.from({ length: 10 }, (_, n) => tag(n)),
    now: Array.from({ length: 10 }, (_, n) => tag(n)),
    level_dbfs: -40.1,
    latency_ms: 31.602,
  };
  web.publish('tags', payload);
  if (seq % 5 === 0) web.publish('level', { ts, dbfs: -40.1, peak_dbfs: -20.3 });
}

/** CPU of this process per window, in ms; each window has a turn of the event loop of its own. */
async function cpuOf(window: (seq: number) => void): Promise<number> {
  const from = process.cpuUsage();
  for (let seq = 0; seq < WINDOWS; seq += 1) {
    window(seq);
    // Time for the write to go out, and for the viewer to read it.
    await turn();
    await turn();
    if (seq % 50 === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  }
  const { user, system } = process.cpuUsage(from);
  return (user + system) / 1000 / WINDOWS;
}

async function watched(url: URL, work: () => Promise<number>): Promise<number> {
  const child = spawn(process.execPath, ['-e', VIEWER, url.href], { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    await once(child.stdout, 'data');
    return await work();
  } finally {
    child.kill('SIGKILL');
    await once(child, 'close');
  }
}
