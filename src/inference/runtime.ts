import type * as onnxruntime from 'onnxruntime-node';
import { messageOf, SoundpostError } from '../common/errors.js';

/** The module, loaded only when a model is: it may be missing. */
export type OnnxRuntime = typeof onnxruntime;

/**
 * The session options that an edge device wants. One window at a time is computed, so there is nothing to run
 * in parallel; a thread that spins between two hops takes seven times the CPU of the inference itself at 1 Hz
 * (measured with onnxruntime-node 1.30). Errors come back as exceptions, so its own log is switched off.
 */
export function sessionOptions(threads: number) {
  return {
    executionProviders: ['cpu'],
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    executionMode: 'sequential',
    graphOptimizationLevel: 'all',
    logSeverityLevel: 4,
    extra: { session: { intra_op: { allow_spinning: '0' }, inter_op: { allow_spinning: '0' } } },
  } as const;
}

/**
 * Loads ONNX Runtime's native library.
 * @throws SoundpostError `inference_unsupported` where there is none for this machine, or it is not installed.
 */
export async function loadRuntime(): Promise<OnnxRuntime> {
  try {
    return await import('onnxruntime-node');
  } catch (error) {
    throw new SoundpostError('inference_unsupported', explainMissingRuntime(error, thisMachine()), {
      cause: error,
    });
  }
}

export interface Machine {
  platform: string;
  arch: string;
  /** The C library is musl (Alpine), for which there is no build. */
  musl: boolean;
}

function thisMachine(): Machine {
  const { header } = process.report.getReport() as { header?: { glibcVersionRuntime?: string } };
  const musl = process.platform === 'linux' && header?.glibcVersionRuntime === undefined;
  return { platform: process.platform, arch: process.arch, musl };
}

/** Why ONNX Runtime could not be loaded, for the person who has to choose a machine or repair an installation. */
export function explainMissingRuntime(error: unknown, machine: Machine): string {
  const { platform, arch, musl } = machine;
  const builds = ['linux x64', 'linux arm64', 'darwin arm64', 'win32 x64', 'win32 arm64'];
  if (!builds.includes(`${platform} ${arch}`)) {
    const bits =
      arch === 'arm' || arch === 'ia32' ? ' Install a 64-bit operating system (and a 64-bit Node).' : '';
    return `ONNX Runtime does not exist for ${platform} on ${arch}; it does for ${builds.join(', ')}.${bits}`;
  }
  if (musl) {
    return 'ONNX Runtime needs glibc, but this Node was built for musl (Alpine). Use a Debian or Ubuntu system or image.';
  }
  return `ONNX Runtime cannot be loaded: ${messageOf(error)}. Run "npm ci" again; its package is onnxruntime-node.`;
}
