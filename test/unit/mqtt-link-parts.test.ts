import t from 'tap';
import { doneBy, type End } from '../../src/mqtt/connect-once.js';
import type { ParsedAccess } from '../../src/mqtt/connection.js';
import type { Failure } from '../../src/mqtt/failure.js';
import { createReceive } from '../../src/mqtt/incoming.js';
import { keepConnected, type Ended } from '../../src/mqtt/keep-connected.js';
import { createLinkReports } from '../../src/mqtt/link-reports.js';
import { createStatusBoard } from '../../src/mqtt/link-status.js';
import type { Hold } from '../../src/mqtt/suspects.js';
import type { Limits } from '../../src/mqtt/terms.js';
import { createTextLimit } from '../../src/mqtt/text-limit.js';
import { familyOf } from '../../src/mqtt/topics.js';
import { createRecordingLog } from '../support/recording-log.js';

/* The parts of the link, each for itself. */

const failure: Failure = { code: 'refused_here', reason: 'nobody is there', kind: 'unreachable' };
const neverOpen: End = {
  failure,
  heldMs: 0,
  suspected: false,
  held: null,
  atOnce: false,
  stay: false,
};
const hold: Hold = { topic: 'B/tags', bytes: 900, ends: 2, maybeSize: false, forMs: 600_000 };
const limits: Limits = {
  receiveMaximum: Infinity,
  maximumPacketBytes: Infinity,
  maximumQos: 1,
  retainAvailable: true,
  keepaliveSeconds: null,
};

t.test('connections follow each other as the policy says, until the signal fires', async (t) => {
  const ends: End[] = [
    { ...neverOpen, atOnce: true },
    neverOpen,
    { ...neverOpen, heldMs: 50, suspected: true, held: hold },
    neverOpen,
  ];
  const stopping = new AbortController();
  const asked: unknown[] = [];
  const told: Ended[] = [];
  let [address, connections] = [0, 0];
  const policy = {
    get address() {
      return address;
    },
    beforeFirst: () => 0,
    after(cause: Failure, heldMs: number, message: unknown) {
      asked.push([heldMs, message]);
      address += 1;
      return { cause, delayMs: 0 };
    },
  };
  await keepConnected({
    policy,
    connect() {
      connections += 1;
      // The last one ends because it was stopped: nothing is said of it.
      if (connections === ends.length) stopping.abort();
      return Promise.resolve(ends[connections - 1]!);
    },
    ended: (end) => told.push(end),
    signal: stopping.signal,
  });
  t.equal(connections, 4);
  t.same(asked, [
    [0, { suspected: false, found: false, stay: false }],
    [50, { suspected: true, found: true, stay: false }],
  ]);
  t.same(told, [
    { address: 0, cause: failure, wasConnected: false, held: null },
    { address: 1, cause: failure, wasConnected: true, held: hold },
  ]);
});

t.test('a wait for the next attempt ends with the signal', async (t) => {
  const stopping = new AbortController();
  const begun = performance.now();
  const kept = keepConnected({
    policy: { address: 0, beforeFirst: () => 0, after: (cause) => ({ cause, delayMs: 60_000 }) },
    connect: () => Promise.resolve(neverOpen),
    ended: () => setTimeout(() => stopping.abort(), 10),
    signal: stopping.signal,
  });
  await kept;
  t.ok(performance.now() - begun < 10_000);
});

t.test('only ends that a message may have brought about are blamed on one', (t) => {
  t.same(doneBy({ ...failure, code: 'connection_reset' }), { byBroker: true, told: false });
  t.same(doneBy({ ...failure, code: 'keepalive_timeout' }), { byBroker: false, told: false });
  t.same(doneBy({ ...failure, brokerCode: 0x95 }), { byBroker: true, told: true }, 'packet too large');
  t.same(doneBy({ ...failure, brokerCode: 0x8b }), { byBroker: false, told: true }, 'server shutting down');
  t.end();
});

t.test('the reason at an address is told once, and again after a connection', (t) => {
  const log = createRecordingLog();
  const { lines } = log;
  const access = (label: string): ParsedAccess => ({ options: {}, address: label, label });
  const [one, two] = [access('mqtt://one'), access('mqtt://two')];
  const reports = createLinkReports([one, two], log);
  const warnings = () => lines.filter(({ level }) => level === 'warn').length;
  reports.ended(one, failure, { wasConnected: false, next: two });
  reports.ended(one, failure, { wasConnected: false, next: two });
  t.equal(warnings(), 1);
  t.match(lines[0]?.message, /^No connection to mqtt:\/\/one: nobody is there\. Next comes mqtt:\/\/two$/);
  reports.ended(two, failure, { wasConnected: false, next: one });
  reports.ended(one, { ...failure, code: 'other' }, { wasConnected: false, next: two });
  t.equal(warnings(), 3, 'another address, another reason');
  reports.connected(two, 4, { ...limits, keepaliveSeconds: 5 });
  t.match(lines.at(-1)?.message, /^Connected to mqtt:\/\/two, address 2 of 2 \(MQTT 3\.1\.1\); it orders/);
  reports.ended(two, failure, { wasConnected: true, next: one });
  t.equal(warnings(), 4);
  t.match(lines.at(-1)?.message, /^Lost the connection/);
  reports.held({ ...hold, topic: 'subscribe B/+/set', ends: 1 });
  t.match(lines.at(-1)?.message, /once just when B\/\+\/set was subscribed to: .* let this device read/);
  t.end();
});

t.test('what a listener throws goes no further', (t) => {
  const log = createRecordingLog();
  const { lines } = log;
  const board = createStatusBoard(log);
  const seen: string[] = [];
  const stop = board.listen(({ state }) => {
    seen.push(state);
    if (state === 'connecting') throw new Error('mine');
  });
  board.listen(({ state }) => seen.push(`second ${state}`));
  board.set({ state: 'connecting' });
  stop();
  board.set({ state: 'stopped' });
  t.same(seen, ['offline', 'second offline', 'connecting', 'second connecting', 'second stopped']);
  t.equal(lines.length, 1);

  const receive = createReceive(
    {
      onRequest() {
        throw new Error('mine');
      },
      birthTopic: 'homeassistant/status',
      onBirth: (text) => seen.push(text),
    },
    log,
  );
  const packet = {
    cmd: 'publish' as const,
    qos: 0 as const,
    dup: false,
    retain: false,
    topic: '',
    payload: '',
  };
  receive('homeassistant/status', Buffer.from('online'), packet);
  receive('B/request/pause', Buffer.from('{}'), packet);
  t.equal(seen.at(-1), 'online');
  t.equal(lines.length, 2);
  t.end();
});

t.test('a limit on texts is told on every change, with room for the rest of the packet', (t) => {
  const seen: number[] = [];
  const limit = createTextLimit();
  limit.listen((bytes) => seen.push(bytes));
  for (const bytes of [Infinity, 1000, 1000, 10]) limit.setPacket(bytes);
  t.same(seen, [Infinity, 680, 0]);
  t.end();
});

t.test('topics below one of ours belong together', (t) => {
  t.equal(familyOf('B', 'B/label/dog'), 'B/label');
  t.equal(familyOf('B', 'B/label'), null);
  t.equal(familyOf('B', 'Bx/label/dog'), null);
  t.equal(familyOf('B', 'B/source/yard/label/dog'), 'B/source/yard/label', 'not those of another source');
  for (const path of ['source', 'source/yard', 'source/yard/tags'])
    t.equal(familyOf('B', `B/${path}`), null, path);
  t.end();
});
