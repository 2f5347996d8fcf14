/** How far an installation is. `share` is 0 … 1, null where the end is not known. */
export interface InstallProgress {
  step: 'downloading' | 'converting' | 'verifying';
  share: number | null;
  /** While downloading: bytes. */
  done?: number;
  total?: number | null;
}

export interface InstallOptions {
  onProgress?: (progress: InstallProgress) => void;
  signal?: AbortSignal | undefined;
}
