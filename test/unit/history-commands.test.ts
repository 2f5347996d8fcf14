import fc from 'fast-check';
import t, { type Test } from 'tap';
import type { z } from 'zod';
import { codeOf } from '../../src/common/errors.js';
import { silentLogger } from '../../src/common/log.js';
import { createHistoryCommands, type HistoryCommands } from '../../src/history/commands.js';
import { openHistory } from '../../src/history/history.js';
import { defineCommand, type CommandSpec } from '../../src/mqtt/command.js';
import { commandSpecs } from '../../src/mqtt/command-specs.js';
import { isoTime } from '../../src/mqtt/contract.js';
import {
  historySpecs,
  MAX_EVENTS,
  type HistoryCommandName,
  type HistoryData,
  type HistoryInput,
} from '../../src/mqtt/history-specs.js';
import { endWith, eventWith } from '../support/events.js';
import { temporaryFolder } from '../support/temporary.js';

/* The commands of the history: what they take, what they answer. */

const BEGIN_MS = Date.parse('2026-05-01T00:00:00.000Z');
const names = Object.keys(historySpecs) as HistoryCommandName[];
/** In a form in which a name leads to the matching types. */
type Specs = { [K in HistoryCommandName]: CommandSpec<z.ZodType<HistoryInput<K>>> };

const signal = new AbortController().signal;

function openHere(t: Test) {
  const history = openHistory({
    dataDir: temporaryFolder(t),
    days: 30,
    maxMb: 64,
    log: silentLogger,
    now: () => BEGIN_MS + 3_600_000,
  });
  t.teardown(() => history.close());
  const handlers: HistoryCommands = createHistoryCommands(history, () => BEGIN_MS + 3_600_000);
  const specs: Specs = historySpecs;
  /** As a request comes in: checked, carried out, and the reply checked as well. */
  async function ask<K extends HistoryCommandName>(name: K, input: unknown): Promise<HistoryData<K>> {
    const command = defineCommand<HistoryInput<K>>(name, specs[name], handlers[name]);
    const reply = await command.prepare(input).run({ signal, afterReply: () => undefined });
    return historySpecs[name].result.parse(reply) as HistoryData<K>;
  }
  return { history, ask };
}

const nth = (n: number) =>
  eventWith({
    id: `event-${n}`,
    label: n % 2 === 0 ? 'Dog' : 'Cat',
    started_at: isoTime(BEGIN_MS + n * 1000),
  });

t.test('names and examples fit the table that they are to be part of', (t) => {
  for (const name of names) {
    const { example, schema } = historySpecs[name];
    t.equal(commandSpecs[name], historySpecs[name]);
    t.ok(schema.safeParse(example).success, name);
  }
  t.end();
});

t.test('"history" answers with events, newest first, page by page', async (t) => {
  const { history, ask } = openHere(t);
  t.strictSame(await ask('history', {}), { events: [], cursor: null });
  for (let n = 0; n < 10; n += 1) history.event(nth(n));
  history.event(endWith(nth(8), 3));
  const dogs = await ask('history', { label: 'dog', since: '2026-05-01T00:00:02Z', limit: 2 });
  t.match(dogs.events, [
    { id: 'event-8', event_type: 'ended', duration_s: 3, right: null },
    { id: 'event-6', event_type: 'started' },
  ]);
  const next = await ask('history', {
    label: 'dog',
    since: '2026-05-01T02:00:02+02:00',
    cursor: dogs.cursor,
  });
  t.match([next.events.map(({ id }) => id), next.cursor], [['event-4', 'event-2'], null]);
  t.strictSame(
    (await ask('history', { until: '2026-05-01T00:00:01.000Z' })).events.map(({ id }) => id),
    ['event-0'],
  );
  await t.rejects(ask('history', { since: '2026-05-01T00:00:01Z', until: '2026-05-01T00:00:01Z' }), {
    code: 'invalid_request',
    message: /before until/,
  });
});

t.test('a reply stays small, and its cursor gets the rest', async (t) => {
  const { history, ask } = openHere(t);
  const long = 'A group with a long name, '.repeat(7);
  for (let n = 0; n < MAX_EVENTS; n += 1) history.event({ ...nth(n), group: long, label: long, model: long });
  const ids: string[] = [];
  let cursor: string | null | undefined = undefined;
  let pages = 0;
  do {
    const reply: HistoryData<'history'> = await ask('history', {
      limit: MAX_EVENTS,
      ...(cursor != null && { cursor }),
    });
    t.ok(Buffer.byteLength(JSON.stringify(reply)) < 100_000);
    ids.push(...reply.events.map(({ id }) => id));
    cursor = reply.cursor;
    pages += 1;
  } while (cursor !== null);
  t.ok(pages > 2);
  t.strictSame(
    ids,
    ids.map((_, n) => nth(MAX_EVENTS - 1 - n).id),
  );
  t.equal(ids.length, MAX_EVENTS);
});

t.test('"event/judge" is remembered with the event', async (t) => {
  const { history, ask } = openHere(t);
  history.event(nth(1));
  t.strictSame(await ask('event/judge', { id: 'event-1', right: false }), {
    id: 'event-1',
    label: 'Cat',
    right: false,
  });
  await ask('event/judge', { id: 'event-1', right: true });
  t.equal((await ask('history', {})).events[0]?.right, true, 'the last word counts');
  await t.rejects(ask('event/judge', { id: 'event-"2"', right: true }), {
    code: 'event_unknown',
    message: /event-\\"2\\"/,
  });
});

t.test('"history/scores" answers with a curve of the last day', async (t) => {
  const { history, ask } = openHere(t);
  for (let minute = -2000; minute < 60; minute += 1) {
    const tsMs = BEGIN_MS + minute * 60_000;
    history.scores({ tsMs, source: 'main', scores: new Map([['Dog', minute === 7 ? 0.75 : 0.125]]) });
  }
  await history.settled();
  const day = await ask('history/scores', { label: 'dog', points: 24 });
  t.equal(day.step_seconds, 3600);
  t.equal(day.points.length, 24);
  t.strictSame(day.points.at(-1), { ts: '2026-05-01T00:00:00.000Z', score: 0.75 });
  t.strictSame(day.points[0], { ts: '2026-04-30T01:00:00.000Z', score: 0.125 });
  t.strictSame(await ask('history/scores', { label: 'cat' }), { step_seconds: 180, points: [] });
  await t.rejects(ask('history/scores', { label: 'Dog', since: '2027-01-01T00:00:00Z' }), {
    code: 'invalid_request',
  });
});

t.test('"history/delete" says what it freed, and wants to be told what', async (t) => {
  const { history, ask } = openHere(t);
  for (let n = 0; n < 10; n += 1) history.event(nth(n));
  await history.settled();
  t.match(await ask('history/delete', { before: '2026-05-01T00:00:05Z' }), { deleted: true, bytes: Number });
  t.equal((await ask('history', {})).events.length, 5);
  t.match(await ask('history/delete', { all: true }), { deleted: true });
  t.equal((await ask('history', {})).events.length, 0);
  for (const input of [
    {},
    { all: false },
    { all: true, before: '2026-05-01T00:00:05Z' },
    { before: 'today' },
  ])
    await t.rejects(
      async () => ask('history/delete', input),
      { code: 'invalid_request' },
      JSON.stringify(input),
    );
});

t.test('whatever is asked, there is an answer or a code for it', async (t) => {
  const { history, ask } = openHere(t);
  for (let n = 0; n < 50; n += 1) history.event(nth(n));
  await history.settled();
  const codes = new Set<string>();
  const value = fc.oneof(
    fc.constantFrom<unknown>(
      'Dog',
      '2026-05-01T00:00:05Z',
      '0000-01-01T00:00:00Z',
      '9999-12-31T23:59:59Z',
      true,
      7,
    ),
    fc.string({ unit: 'binary' }),
    fc.jsonValue(),
  );
  const input = fc.dictionary(
    fc.constantFrom(
      'since',
      'until',
      'label',
      'source',
      'limit',
      'cursor',
      'points',
      'before',
      'id',
      'right',
    ),
    value,
  );
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...names), input, async (name, request) => {
      try {
        await ask(name, request);
      } catch (error) {
        codes.add(codeOf(error));
      }
    }),
    { numRuns: 500 },
  );
  t.strictSame(
    [...codes].filter((code) => !['invalid_request', 'event_unknown'].includes(code)),
    [],
  );
});
