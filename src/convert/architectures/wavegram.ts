import type { Architecture } from '../architecture.js';

export const wavegramArchitectures: readonly Architecture[] = [];
