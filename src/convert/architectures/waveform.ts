import type { Architecture } from '../architecture.js';

export const waveformArchitectures: readonly Architecture[] = [];
