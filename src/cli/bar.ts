import { createStatusLine, type TerminalStream } from './status-line.js';

/** How far long work is, with the time that is left; on stderr, so that stdout stays for results. */
export interface Bar {
  /** @param fraction 0 … 1 */
  update(progress: { fraction: number; secondsLeft: number; doing: string }): void;
  /** A line that stays. */
  say(text: string): void;
  done(): void;
}

const BAR_WIDTH = 20;
const TERMINAL_INTERVAL_MS = 100;
const PLAIN_INTERVAL_MS = 30_000;

/** One line that is drawn over on a terminal; a plain line now and then elsewhere. */
export function createBar(stream: TerminalStream = process.stderr): Bar {
  const live = stream.isTTY;
  const line = createStatusLine(stream, [process.stdout, process.stderr]);
  let last = live ? -Infinity : performance.now();
  return {
    update({ fraction, secondsLeft, doing }) {
      const now = performance.now();
      if (now - last < (live ? TERMINAL_INTERVAL_MS : PLAIN_INTERVAL_MS)) return;
      last = now;
      const text = `${Math.floor(fraction * 100)
        .toString()
        .padStart(3)} %, ${minutesAndSeconds(secondsLeft)} left, ${doing}`;
      if (!live) {
        stream.write(`${text.trim()}\n`);
        return;
      }
      const full = Math.round(Math.min(1, Math.max(0, fraction)) * BAR_WIDTH);
      const bar = '█'.repeat(full) + '░'.repeat(BAR_WIDTH - full);
      line.show(`${bar} ${text}`);
    },
    say(text) {
      stream.write(`${text}\n`);
    },
    done: () => line.clear(),
  };
}

/** `1:02:03`, `2:03` or `12 s`. */
export function minutesAndSeconds(seconds: number): string {
  const whole = Math.ceil(seconds);
  if (whole < 60) return `${whole} s`;
  const two = (value: number) => String(value).padStart(2, '0');
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return hours > 0 ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}
