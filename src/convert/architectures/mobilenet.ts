import type { Architecture } from '../architecture.js';

export const mobilenetArchitectures: readonly Architecture[] = [];
