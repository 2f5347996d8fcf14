import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { useLoaded, useNow } from '../lib/hooks.js';
import { dateOf, dayStart, hrefOf, isDate, shiftDate } from '../lib/routes.js';
import { useStore } from '../lib/store.js';
import { withEvent, type HeardEvent } from '../model/device.js';
import { eventsBetween } from '../model/history.js';
import { device } from '../model/session.js';
import { Card, ErrorNote } from '../parts/basics.js';
import { EventList, nameOf } from '../parts/event-list.js';
import { Timeline } from '../parts/timeline.js';
import { useWords } from '../texts/index.js';

/** The list begins with as many; who wants more asks for them. */
const FIRST = 100;

/** One day: what was heard when. */
export function DayView({ date: asked }: { date: string | null }): JSX.Element {
  const { t, format } = useWords();
  const now = useNow(30_000);
  const today = dateOf(new Date(now));
  const date = asked ?? today;
  const [start, end] = [dayStart(date), dayStart(shiftDate(date, 1))];
  const { data, error, isLoading, again } = useLoaded(date, () => eventsBetween(start, end));
  const live = useStore(device, (known) => known.events);
  const connection = useStore(device, (known) => known.connection);
  // What came while there was no connection is in the history only.
  useEffect(() => {
    if (connection === 'live') again();
  }, [connection]);
  const [chosen, setChosen] = useState<string | null>(null);
  const [shown, setShown] = useState(FIRST);
  const events = merge(data?.events ?? [], live, start, end);
  const rows = rowsOf(events);
  const wanted = chosen !== null && rows.some(([name]) => name === chosen) ? chosen : null;
  const listed = wanted === null ? events : events.filter((event) => nameOf(event) === wanted);
  return (
    <>
      <h1>{date === today ? t.day.today : format.date(start)}</h1>
      <DayChoice date={date} today={today} />
      <Card title={t.day.timeline}>
        {error === null ? null : <ErrorNote error={error} again={again} />}
        {events.length === 0 ? (
          <p class="dim">{isLoading ? t.loading : t.day.nothing}</p>
        ) : (
          <Timeline rows={rows} start={start} end={end} now={date === today ? new Date(now) : null} />
        )}
      </Card>
      <Card
        title={t.day.events(listed.length)}
        aside={
          rows.length < 2 ? null : (
            <label class="inline">
              <span>{t.day.show}</span>
              <select value={wanted ?? ''} onChange={(event) => setChosen(event.currentTarget.value || null)}>
                <option value="">{t.day.all}</option>
                {rows.map(([name, ofName]) => (
                  <option key={name} value={name}>{`${name} (${ofName.length})`}</option>
                ))}
              </select>
            </label>
          )
        }
      >
        {data?.isWhole === false ? <p class="dim">{t.day.notAll(events.length)}</p> : null}
        <EventList events={listed.slice(0, shown)} />
        {listed.length > shown ? (
          <button type="button" onClick={() => setShown(shown + 5 * FIRST)}>
            {t.day.more}
          </button>
        ) : null}
      </Card>
    </>
  );
}

function DayChoice({ date, today }: { date: string; today: string }): JSX.Element {
  const { t } = useWords();
  return (
    <div class="toolbar" role="group" aria-label={t.day.choose}>
      <a class="button" href={hrefOf({ view: 'day', date: shiftDate(date, -1) })}>
        ← {t.day.before}
      </a>
      <label class="inline">
        <span class="unseen">{t.day.date}</span>
        <input
          type="date"
          value={date}
          max={today}
          onChange={({ currentTarget: { value } }) => {
            if (isDate(value)) location.hash = hrefOf({ view: 'day', date: value });
          }}
        />
      </label>
      {date >= today ? null : (
        <>
          <a class="button" href={hrefOf({ view: 'day', date: shiftDate(date, 1) })}>
            {t.day.after} →
          </a>
          <a class="button" href={hrefOf({ view: 'day', date: null })}>
            {t.day.today}
          </a>
        </>
      )}
    </div>
  );
}

/** What the history has and what came live, newest first. */
function merge(
  kept: readonly HeardEvent[],
  live: readonly HeardEvent[],
  start: Date,
  end: Date,
): HeardEvent[] {
  let events = [...kept];
  for (const event of live) {
    const at = Date.parse(event.started_at);
    if (at >= start.getTime() && at < end.getTime()) events = withEvent(events, event);
  }
  return events;
}

/** What was heard most comes first. */
function rowsOf(events: readonly HeardEvent[]): [name: string, events: HeardEvent[]][] {
  const rows = new Map<string, HeardEvent[]>();
  for (const event of events) {
    const name = nameOf(event);
    const row = rows.get(name);
    if (row === undefined) rows.set(name, [event]);
    else row.push(event);
  }
  return [...rows].sort(([a, of], [b, others]) => others.length - of.length || a.localeCompare(b));
}
