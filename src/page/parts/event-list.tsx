import type { JSX } from 'preact';
import { hrefOf } from '../lib/routes.js';
import type { HeardEvent } from '../model/device.js';
import { useWords } from '../texts/index.js';
import { SoundName } from './basics.js';

/** What an event is about: the group where it has one, which is also what the history calls it. */
export function nameOf(event: HeardEvent): string {
  return event.group ?? event.label;
}

export function eventHref({ id, started_at: at }: HeardEvent): string {
  return hrefOf({ view: 'event', id, at });
}

/** Events as links, in the order in which they are given. */
export function EventList({ events }: { events: readonly HeardEvent[] }): JSX.Element {
  const { format } = useWords();
  return (
    <ol class={format.hasHalves ? 'events halves' : 'events'}>
      {events.map((event) => (
        <EventRow key={event.id} event={event} />
      ))}
    </ol>
  );
}

function EventRow({ event }: { event: HeardEvent }): JSX.Element {
  const { t, format } = useWords();
  const { source, started_at: startedAt, duration_s: duration, peak, right = null } = event;
  return (
    <li>
      <a href={eventHref(event)} class="event">
        <time dateTime={startedAt} class="figures">
          {format.time(startedAt)}
        </time>
        <span class="event-name">
          <SoundName>{nameOf(event)}</SoundName>
          {event.group !== null && event.group !== event.label ? (
            <span class="event-label dim">
              {' '}
              <SoundName>{event.label}</SoundName>
            </span>
          ) : null}
        </span>
        <span class="event-facts dim figures">
          {source === undefined ? '' : `${source} · `}
          {duration === null ? t.event.goesOn : format.seconds(duration)}
          {` · ${t.event.withScore(format.score(peak))}`}
        </span>
        {right === null ? null : (
          <span class={`badge ${right ? 'ok' : 'warn'}`}>{right ? t.event.right : t.event.wrong}</span>
        )}
      </a>
    </li>
  );
}
