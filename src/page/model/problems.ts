import type { Texts } from '../texts/en.js';
import { sourceNames, type Device } from './device.js';

/** Something that is not as it should be. */
export interface Problem {
  /** The same for the same thing, as long as it lasts. */
  id: string;
  isBad: boolean;
  text: string;
  /** In what language the text is, where that is not the page's: the device's own sentences are English. */
  isEnglish?: boolean;
}

/** What the service has complained of is a problem for so long; after that it is among the messages only. */
const ERROR_MS = 10 * 60_000;

/**
 * What is wrong now, in words; the worst first.
 * @param clock how a moment is written
 */
export function problemsOf(
  device: Device,
  t: Texts,
  clock: (iso: string) => string,
  nowMs: number,
): Problem[] {
  const { connection, status, info, state, telemetry, logs } = device;
  const found: Problem[] = [];
  const add = (id: string, isBad: boolean, text: string, isEnglish = false): void =>
    void found.push({ id, isBad, text, isEnglish });
  if (connection === 'lost') add('connection', true, t.problems.lost);
  if (status === 'offline') add('status', true, t.problems.offline);
  const silent = sourceNames(state).filter((name) => device.sources[name]?.audio === 'offline');
  if (silent.length > 0) add('audio', true, t.problems.noSoundOf(silent.join(', ')));
  else if (device.audio === 'offline') add('audio', true, t.problems.noSound);
  if (info?.safe_mode != null) add('safe_mode', true, info.safe_mode, true);
  info?.config_problems?.forEach((text, index) => add(`config${index}`, true, text, true));
  if (state?.stand_in != null) {
    const { for: model, reason, retry_at: at } = state.stand_in;
    add('stand_in', true, t.problems.standIn(state.model ?? '', model, clock(at), reason));
  }
  const failure = logs.find(({ level, ts }) => level === 'error' && nowMs - Date.parse(ts) < ERROR_MS);
  if (failure !== undefined) add('log', true, `${clock(failure.ts)} ${failure.message}`, true);
  if (telemetry?.soc.under_voltage === true) add('voltage', true, t.problems.underVoltage);
  if (state?.throttle.active === true) {
    add('throttle', false, t.problems.throttled(state.effective_rate_hz, state.throttle.reason ?? ''));
  }
  if (state?.paused === true) add('paused', false, t.problems.paused);
  const paused = state?.sources?.filter((source) => source.paused).map(({ name }) => name) ?? [];
  if (state?.paused !== true && paused.length > 0)
    add('paused', false, t.problems.pausedOf(paused.join(', ')));
  // Not how many: each other number would be read out.
  if ((telemetry?.outbox.queued ?? 0) > 0) add('outbox', false, t.problems.queued);
  return found;
}
