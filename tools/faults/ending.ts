import type { EventPayload } from '../../src/mqtt/contract.js';
import { firsts } from '../../test/support/consumer.js';
import { heardBy, hears, type Rig } from './rig.js';
import type { Verdict } from './verdict.js';
import { secondsUntil } from '../../test/support/waiting.js';
import type { Watcher } from './watcher.js';

/* What holds of the events and of the retained topics once the service has ended. */

/** The first delivery of each event, in order: a start and an end are two. */
const delivered = (events: readonly EventPayload[]): EventPayload[] => [...firsts(events).values()];

/** The sounds that began, by their starts. */
export const startsIn = (events: readonly EventPayload[]): EventPayload[] =>
  delivered(events).filter(({ event_type }) => event_type === 'started');

export const begunIn = (events: readonly EventPayload[]): number => startsIn(events).length;

/** What is wrong with a row of events: starts without an end, and ends without a start. */
export function unpaired(events: readonly EventPayload[]): string[] {
  const open = new Map<string, EventPayload>();
  const wrong: string[] = [];
  for (const event of delivered(events)) {
    if (event.event_type === 'started') open.set(event.id, event);
    else if (!open.delete(event.id)) wrong.push(`${event.label} of ${event.started_at} ends unbegun`);
  }
  return [
    ...wrong,
    ...[...open.values()].map(({ label, started_at }) => `${label} of ${started_at} has no end`),
  ];
}

export function holdPairs(events: readonly EventPayload[], verdict: Verdict): void {
  const wrong = unpaired(events);
  verdict.hold(wrong.length === 0, `events in pairs (${wrong.length}: ${wrong[0] ?? ''})`);
}

export const labelsOn = ({ states }: Watcher): string[] =>
  [...states]
    .filter(([topic, text]) => /^(source\/[^/]+\/)?label\//.test(topic) && text !== 'OFF' && text !== '')
    .map(([topic]) => topic);

/** After an end in order: `offline`, pairs, nothing on. */
export async function endedWell(
  { watcher, service }: Rig,
  verdict: Verdict,
  code: number | null = 0,
): Promise<void> {
  verdict.hold((await service.exited) === code, `exit code ${code}`);
  const isOffline = () => watcher.states.get('status') === 'offline';
  await secondsUntil(
    () => isOffline() && unpaired(watcher.events).length === 0 && labelsOn(watcher).length === 0,
    10,
  );
  verdict.note(`${watcher.events.length} events`);
  verdict.hold(isOffline(), 'B/status is offline');
  holdPairs(watcher.events, verdict);
  verdict.hold(labelsOn(watcher).length === 0, `no label stays on (${labelsOn(watcher).join()})`);
}

export async function stopsWell(rig: Rig, verdict: Verdict): Promise<void> {
  await rig.service.stop();
  await endedWell(rig, verdict);
}

/** Events that came out of order: their times of decision must not go back. */
function outOfOrder(events: readonly EventPayload[]): number {
  const times = delivered(events).map(({ detected_at }) => Date.parse(detected_at));
  return times.filter((time, index) => index > 0 && time < times[index - 1]!).length;
}

/** After the fault is over: everything that was heard arrives within `seconds`, in pairs and in order. */
export async function allArrives(rig: Rig, verdict: Verdict, seconds: number): Promise<void> {
  const { watcher, service } = rig;
  const heard = heardBy(service);
  const begun = () => begunIn(watcher.events);
  verdict.within(await secondsUntil(() => begun() >= heard, seconds), seconds, 'all events after');
  await hears(service, 1);
  await service.stop();
  await secondsUntil(() => begun() >= heardBy(service), 5);
  await endedWell(rig, verdict);
  const late = watcher.events.filter((event) => event.late).length;
  verdict.note(`${begun()} sounds arrived of ${heardBy(service)} heard, ${late} events late`);
  verdict.hold(begun() >= heardBy(service), 'no event is lost');
  verdict.hold(outOfOrder(watcher.events) === 0, 'in order');
}
