/*
 * Where in the page one is. It is behind the `#` of the address, which the server never sees: so the page works below
 * any path, and a link to an event may be kept.
 */

export type Route =
  | { view: 'now' }
  /** `date`: a day of the calendar where the browser is, `2026-05-01`; null is today. */
  | { view: 'day'; date: string | null }
  /** `at`: when the sound began, which is how the history finds it. */
  | { view: 'event'; id: string; at: string }
  | { view: 'history'; label: string | null; source: string | null }
  | { view: 'device' }
  | { view: 'health' };

export type ViewName = Route['view'];

/** Reads what is behind the `#`; what it does not know is the first view. */
export function readRoute(hash: string): Route {
  const [path = '', query = ''] = hash.replace(/^#\/?/, '').split('?', 2);
  const given = new URLSearchParams(query);
  switch (path) {
    case 'day': {
      const date = given.get('date');
      return { view: 'day', date: date !== null && isDate(date) ? date : null };
    }
    case 'event': {
      const [id, at] = [given.get('id'), given.get('at')];
      if (id === null || at === null || Number.isNaN(Date.parse(at))) return { view: 'day', date: null };
      return { view: 'event', id, at };
    }
    case 'history':
      return { view: 'history', label: given.get('label'), source: given.get('source') };
    case 'device':
    case 'health':
      return { view: path };
    default:
      return { view: 'now' };
  }
}

/** The way back. */
export function hrefOf(route: Route): string {
  const { view, ...parameters } = route;
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries<string | null>(parameters)) {
    if (value !== null) query.set(name, value);
  }
  const text = query.toString();
  return `#/${view}${text === '' ? '' : `?${text}`}`;
}

/** The time is checked as well, or 2026-02-31 would be a day. */
export function isDate(text: string): boolean {
  return /^\d{4}-\d\d-\d\d$/.test(text) && dateOf(dayStart(text)) === text;
}

/** The calendar's day of a moment, where the browser is. */
export function dateOf(moment: Date): string {
  const two = (value: number): string => String(value).padStart(2, '0');
  return `${String(moment.getFullYear()).padStart(4, '0')}-${two(moment.getMonth() + 1)}-${two(moment.getDate())}`;
}

/** When a day begins. */
export function dayStart(date: string): Date {
  const [year = 0, month = 1, day = 1] = date.split('-').map(Number);
  return new Date(year, month - 1, day);
}

/** The day so many days later; days of 23 or 25 hours count as one. */
export function shiftDate(date: string, days: number): string {
  const start = dayStart(date);
  return dateOf(new Date(start.getFullYear(), start.getMonth(), start.getDate() + days));
}
