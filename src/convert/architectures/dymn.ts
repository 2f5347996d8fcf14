import type { Architecture } from '../architecture.js';

export const dymnArchitectures: readonly Architecture[] = [];
