import type { Texts } from './en.js';

/** Numbers and times as people write them. */
export interface Formats {
  number: (value: number, digits?: number) => string;
  /** A score, always with two digits behind the point. */
  score: (value: number) => string;
  /** `14:05:09` */
  time: (moment: Date | string) => string;
  /** Whether times have AM and PM behind them. */
  hasHalves: boolean;
  /** `14:05` */
  hour: (moment: Date) => string;
  date: (moment: Date) => string;
  shortDate: (moment: Date) => string;
  dateTime: (moment: Date | string) => string;
  seconds: (value: number) => string;
  bytes: (value: number) => string;
  uptime: (seconds: number) => string;
}

export function createFormats(locale: string, t: Texts): Formats {
  const withOptions = (options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat =>
    new Intl.DateTimeFormat(locale, options);
  const times = withOptions({ hour: '2-digit', minute: '2-digit', second: '2-digit' });
  const hours = withOptions({ hour: 'numeric', minute: '2-digit' });
  const dates = withOptions({ weekday: 'long', day: 'numeric', month: 'long', year: 'numeric' });
  const shortDates = withOptions({ day: 'numeric', month: 'short' });
  const dateTimes = withOptions({ dateStyle: 'medium', timeStyle: 'medium' });
  const scores = new Intl.NumberFormat(locale, { minimumFractionDigits: 2, maximumFractionDigits: 2 });
  const number = (value: number, digits = 1): string =>
    new Intl.NumberFormat(locale, { maximumFractionDigits: digits }).format(value);
  const read = (moment: Date | string): Date => (typeof moment === 'string' ? new Date(moment) : moment);
  return {
    number,
    score: (value) => scores.format(value),
    hasHalves: times.resolvedOptions().hour12 === true,
    time: (moment) => times.format(read(moment)),
    hour: (moment) => hours.format(moment),
    date: (moment) => dates.format(moment),
    shortDate: (moment) => shortDates.format(moment),
    dateTime: (moment) => dateTimes.format(read(moment)),
    seconds: (value) => `${number(value, value < 10 ? 1 : 0)} s`,
    bytes(value) {
      if (value >= 1e9) return `${number(value / 1e9)} GB`;
      return value >= 1e6 ? `${number(value / 1e6)} MB` : `${number(value / 1e3)} kB`;
    },
    uptime(seconds) {
      const minutes = Math.floor(seconds / 60);
      if (minutes < 60) return t.units.minutes(minutes);
      if (minutes < 48 * 60) return t.units.hours(Math.floor(minutes / 60));
      return t.units.days(Math.floor(minutes / 1440));
    },
  };
}
