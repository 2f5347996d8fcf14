import type { Architecture } from '../architecture.js';

export const convnextArchitectures: readonly Architecture[] = [];
