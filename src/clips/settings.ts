/** What the configuration says of clips. */
export interface ClipSettings {
  /** False: no sound is kept, neither in memory nor on the disk. What was kept before can be listed and deleted. */
  enabled: boolean;
  beforeSeconds: number;
  afterSeconds: number;
  maxSeconds: number;
  maxMb: number;
  days: number;
  /** Names of labels or groups, in any case, or MIDs; empty: every event. */
  labels: readonly string[];
  /** `discard`: a clip in which speech was heard, or was not looked for, is not written. */
  speech: 'discard' | 'keep';
}
