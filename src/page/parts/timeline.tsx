import type { JSX } from 'preact';
import { lightLines } from '../../common/look.js';
import type { HeardEvent } from '../model/device.js';
import { useWords } from '../texts/index.js';
import { SoundName } from './basics.js';
import { eventHref } from './event-list.js';

/** The list below has them all. */
const MOST_ROWS = 20;
/** A sound of a second would be a ten-thousandth of a day. */
const NARROWEST_PERCENT = 0.35;

/**
 * The day from left to right, a row for each label. Marks are for pointers; the list of events says the same to
 * keyboards and screen readers, so they are not told twice.
 */
export function Timeline(properties: {
  rows: readonly (readonly [name: string, events: readonly HeardEvent[]])[];
  start: Date;
  end: Date;
  /** Where it is today. */
  now: Date | null;
}): JSX.Element {
  const { rows, start, end, now } = properties;
  const { t, format } = useWords();
  const spanMs = end.getTime() - start.getTime();
  const placeOf = (moment: Date | number): number =>
    (100 * ((typeof moment === 'number' ? moment : moment.getTime()) - start.getTime())) / spanMs;
  const hours = [0, 6, 12, 18].map(
    (hour) => new Date(start.getFullYear(), start.getMonth(), start.getDate(), hour),
  );
  const told = t.day.summary(rows.map(([name, events]) => `${name}: ${events.length}`).join(', '));
  return (
    <div class="timeline">
      <p class="unseen">{told}</p>
      <div aria-hidden="true">
        {rows.slice(0, MOST_ROWS).map(([name, events], index) => (
          <div class="lane" key={name}>
            <span class="lane-name">
              <SoundName>{name}</SoundName> <span class="dim">{events.length}</span>
            </span>
            <span class="lane-track">
              {now === null ? null : <span class="lane-now" style={{ left: `${placeOf(now)}%` }} />}
              {hours.map((hour) => (
                <span class="lane-hour" key={hour.getTime()} style={{ left: `${placeOf(hour)}%` }} />
              ))}
              {events.map((event) => (
                <Mark key={event.id} event={event} index={index} placeOf={placeOf} />
              ))}
            </span>
          </div>
        ))}
        <div class="lane hours">
          <span class="lane-name" />
          <span class="lane-track">
            {hours.map((hour) => (
              <span class="hour-name figures" key={hour.getTime()} style={{ left: `${placeOf(hour)}%` }}>
                {format.hour(hour)}
              </span>
            ))}
          </span>
        </div>
      </div>
      {rows.length > MOST_ROWS ? <p class="dim">{t.day.moreRows(rows.length - MOST_ROWS)}</p> : null}
    </div>
  );
}

function Mark(properties: {
  event: HeardEvent;
  index: number;
  placeOf: (moment: number) => number;
}): JSX.Element {
  const { event, index, placeOf } = properties;
  const { format } = useWords();
  const from = placeOf(Date.parse(event.started_at));
  const to = placeOf(event.ended_at === null ? Date.now() : Date.parse(event.ended_at));
  return (
    <span
      class={`mark colour-${index % lightLines.length}${event.right === false ? ' judged-wrong' : ''}`}
      style={{ left: `${from}%`, width: `${Math.min(100 - from, Math.max(NARROWEST_PERCENT, to - from))}%` }}
      title={`${format.time(event.started_at)} · ${format.score(event.peak)}`}
      onClick={() => {
        location.hash = eventHref(event);
      }}
    />
  );
}
