import type { Architecture } from '../architecture.js';

export const resnetArchitectures: readonly Architecture[] = [];
