import { Worker } from 'node:worker_threads';

/** So long may one input take before the process is ended: a loop without an end cannot be stopped otherwise. */
const HANG_MS = 60_000;

/** In plain JavaScript, so that it needs no file. */
const PROGRAM = `
const { workerData } = require('node:worker_threads');
const beats = new Int32Array(workerData.shared);
let last = -1;
setInterval(() => {
  const now = Atomics.load(beats, 0);
  if (now === last && Atomics.load(beats, 1) === 1) {
    require('node:fs').writeSync(2, 'fuzz: an input hangs; the same again: ' + Buffer.from(workerData.text).toString().split('\\0')[0] + '\\n');
    process.kill(process.pid, 'SIGKILL');
  }
  last = now;
}, ${HANG_MS});
`;

/** Ends the process with a message where no beat comes for a minute. */
interface Watchdog {
  /** From now on beats are awaited; `again` is how to reproduce what hangs. */
  watch(again: string): void;
  beat(): void;
  stop(): Promise<void>;
}

export function startWatchdog(): Watchdog {
  const shared = new SharedArrayBuffer(8);
  const text = new Uint8Array(new SharedArrayBuffer(1024));
  const beats = new Int32Array(shared);
  const worker = new Worker(PROGRAM, { eval: true, workerData: { shared, text } });
  worker.unref();
  return {
    watch(again) {
      text.fill(0);
      text.set(Buffer.from(again).subarray(0, text.length - 1));
      Atomics.store(beats, 1, 1);
    },
    beat: () => void Atomics.add(beats, 0, 1),
    async stop() {
      Atomics.store(beats, 1, 0);
      await worker.terminate();
    },
  };
}
