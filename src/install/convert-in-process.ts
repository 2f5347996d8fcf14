import { fork } from 'node:child_process';
import { join } from 'node:path';
import { SoundpostError } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import type { Conversion, ConversionRequest, ConvertCheckpoint } from './conversion.js';

export type ToConversion = Omit<ConversionRequest, 'onProgress' | 'signal'>;
export type FromConversion =
  | { kind: 'progress'; share: number }
  | { kind: 'done'; conversion: Conversion }
  | { kind: 'failed'; code: string; message: string };

const PROCESS_FILE = join(import.meta.dirname, 'conversion-process.js');

/** A large network takes seconds on a PC and a few minutes on the smallest machine, but always gets on. */
const SILENT_MS = 300_000;

/**
 * Conversion in a process of its own: the service stays responsive, and the memory of a network of hundreds of
 * megabytes goes back to the system. The promise rejects with what the converter found, with
 * `conversion_failed` when the process dies or hangs, or with `aborted`; the process is gone by then.
 */
export function convertInProcess(options: { log: Logger; processFile?: string }): ConvertCheckpoint {
  return async ({ onProgress, signal, ...request }) => {
    const aborted = () =>
      new SoundpostError('aborted', 'The conversion was called off.', { cause: signal?.reason });
    if (signal?.aborted === true) throw aborted();
    const child = fork(options.processFile ?? PROCESS_FILE, [], {
      serialization: 'advanced',
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      env: environment(),
    });
    let lastWords = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        lastWords = text.trim().split('\n').at(-1)?.slice(0, 300) ?? '';
        if (lastWords !== '') options.log.debug({ pid: child.pid }, lastWords);
      });
    }
    let outcome: Conversion | SoundpostError | undefined;
    const end = (result: Conversion | SoundpostError) => {
      outcome ??= result;
      child.kill('SIGKILL');
    };
    const killNow = () => child.kill('SIGKILL');
    process.once('exit', killNow);
    const onAbort = () => end(aborted());
    signal?.addEventListener('abort', onAbort, { once: true });
    const watchdog = setTimeout(() => end(failed(`it has not moved for ${SILENT_MS / 1000} s`)), SILENT_MS);
    try {
      await new Promise<void>((resolve) => {
        child.on('message', (message: FromConversion) => {
          watchdog.refresh();
          if (message.kind === 'progress') onProgress?.(message.share);
          else if (message.kind === 'done') end(message.conversion);
          else end(new SoundpostError(message.code, message.message));
        });
        child.on('error', (error) => {
          outcome ??= failed(error.message);
          if (child.pid === undefined) resolve();
        });
        child.once('close', (code, signalName) => {
          outcome ??= failed(
            `its process ended (${signalName ?? `exit code ${code ?? 'unknown'}`})${lastWords === '' ? '' : `; it said: ${lastWords}`}. There may be too little memory`,
          );
          resolve();
        });
        child.send(request satisfies ToConversion, () => undefined);
      });
    } finally {
      clearTimeout(watchdog);
      process.removeListener('exit', killNow);
      signal?.removeEventListener('abort', onAbort);
    }
    if (outcome === undefined || outcome instanceof SoundpostError)
      throw outcome ?? failed('no reason given');
    return outcome;
  };
}

function failed(why: string): SoundpostError {
  return new SoundpostError('conversion_failed', `The checkpoint could not be converted: ${why}.`);
}

/** Ours without our own settings, which hold passwords that a converter has no use for. */
function environment(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('SOUNDPOST_')));
}
