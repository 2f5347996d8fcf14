import type { Architecture } from '../architecture.js';

export const efficientatArchitectures: readonly Architecture[] = [];
