import type { Architecture } from '../architecture.js';

export const cnnArchitectures: readonly Architecture[] = [];
