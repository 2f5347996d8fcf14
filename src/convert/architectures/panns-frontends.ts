import type { FrontendSpec } from '../../features/spec.js';
import type { ArchitectureInput } from '../architecture.js';

/** Rate and front end of networks that PANNs trained on log-mels. */
export interface PannsFrontend {
  /** Hz */
  sampleRate: number;
  frontend: FrontendSpec;
}

/** Windows of 32 ms, every 10 ms: at 32 kHz, and where a network was trained for it at 16 or 8 kHz. */
function panns(sampleRate: 32000 | 16000 | 8000, mels: 32 | 64 | 128): PannsFrontend {
  const window = (1024 * sampleRate) / 32000;
  return {
    sampleRate,
    frontend: {
      kind: 'panns',
      n_fft: window,
      win_length: window,
      hop_length: sampleRate / 100,
      n_mels: mels,
      f_min: 50,
      f_max: Math.min(14000, sampleRate / 2),
    },
  };
}

export const PANNS_32K = panns(32000, 64);
export const PANNS_16K = panns(16000, 64);
export const PANNS_8K = panns(8000, 64);
export const PANNS_32K_MEL32 = panns(32000, 32);
export const PANNS_32K_MEL128 = panns(32000, 128);

/** The input of a network on a log-mel [batch, 1, frames, mels]. */
export function logMelInput(frontend: FrontendSpec): ArchitectureInput {
  return { kind: 'log_mel', layout: 'NCTF', frontend };
}

/** Samples of the shortest clip from which `halvings` halvings of its frames leave one. */
export function shortestClip(frontend: FrontendSpec, halvings: number): number {
  return (2 ** halvings - 1) * frontend.hop_length;
}
