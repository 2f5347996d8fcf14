import { stat } from 'node:fs/promises';

const INTERVAL_MS = 5_000;

/**
 * Tells when models have come or gone, whoever installed them: the command line and people with a file manager
 * do not tell the service. Looks at the time of the last change of the folder, which an installation's last step
 * (a rename) and a removal both set; that is one call of the file system each time. Returns the way to end it.
 */
export function watchModels(options: {
  folder: string;
  onChange: () => void;
  intervalMs?: number;
}): () => void {
  const { folder, onChange } = options;
  let seen: number | null | undefined;
  let looking = false;

  const look = async () => {
    if (looking) return;
    looking = true;
    // A folder that is not there yet is one without models.
    const changed = await stat(folder).then(
      ({ mtimeMs }) => mtimeMs,
      () => null,
    );
    looking = false;
    const isNews = seen !== undefined && changed !== seen;
    seen = changed;
    if (isNews && !stopped) onChange();
  };
  let stopped = false;
  void look();
  const timer = setInterval(() => void look(), options.intervalMs ?? INTERVAL_MS);
  timer.unref();
  return () => {
    stopped = true;
    clearInterval(timer);
  };
}
