/** The parts of the page's server that need no connection. */
import type { IncomingMessage } from 'node:http';
import fc from 'fast-check';
import t from 'tap';
import { silentLogger } from '../../src/common/log.js';
import { commandTable } from '../../src/mqtt/command-table.js';
import { createCommandRouter } from '../../src/mqtt/commands.js';
import { createTopics } from '../../src/mqtt/topics.js';
import { createAttempts } from '../../src/web/attempts.js';
import { readRange } from '../../src/web/clips.js';
import { createHostCheck, isForeign, readHost } from '../../src/web/hosts.js';
import { WEB_LIMITS } from '../../src/web/limits.js';
import { createSessions, passwordCheck } from '../../src/web/sessions.js';
import { createVisitorReader } from '../../src/web/visitor.js';
import { createRecordingControl } from '../support/recording-control.js';

const label = fc.stringMatching(/^[a-z][a-z0-9-]{0,10}$/);
const domain = fc.array(label, { minLength: 2, maxLength: 4 }).map((labels) => labels.join('.'));

t.test('no name is a device’s own that has not been given to it', (t) => {
  fc.assert(
    fc.property(fc.array(domain, { maxLength: 3 }), domain, fc.nat(65_535), (hosts, name, port) => {
      for (const place of ['127.0.0.1', '0.0.0.0', '::', '192.168.1.5']) {
        const isOwn = createHostCheck(place, hosts);
        t.equal(isOwn(`${name}:${port}`), hosts.includes(name));
        for (const host of hosts) {
          t.ok(isOwn(host.toUpperCase()));
          t.notOk(isOwn(`${host}.${name}`) && !hosts.includes(`${host}.${name}`));
        }
      }
    }),
  );
  t.end();
});

t.test('an address is its own where it listens on all of them, or on that one', (t) => {
  fc.assert(
    fc.property(fc.ipV4(), (address) => {
      t.ok(createHostCheck('0.0.0.0', [])(`${address}:80`));
      t.ok(createHostCheck(address, [])(address));
      t.equal(
        createHostCheck('192.0.2.1', [])(address),
        address.startsWith('127.') || address === '192.0.2.1',
      );
    }),
  );
  t.end();
});

t.test('nothing is read as a host that is none', (t) => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      const host = readHost(text);
      if (host !== null) t.match(`${host.name}:${host.port}`, /^[\w.:-]+:\d*$/);
    }),
  );
  for (const text of [
    '',
    ':80',
    'a b',
    'a/b',
    'a@b',
    '[1.2.3.4]',
    '[::1',
    '::1',
    'a:',
    'a:b',
    'a:123456',
    '.',
  ]) {
    t.equal(readHost(text), null, text);
  }
  t.same(readHost('[::1]:80'), { name: '::1', port: '80' });
  t.end();
});

t.test('only a page of the same address may send requests', (t) => {
  const place = fc.record({ name: domain, port: fc.constantFrom('', ':80', ':443', ':8099') });
  const scheme = fc.constantFrom('http', 'https');
  fc.assert(
    fc.property(place, place, scheme, (own, other, by) => {
      const withPort = ({ name, port }: typeof own): string =>
        `${name}${port === '' ? (by === 'https' ? ':443' : ':80') : port}`;
      const sender = { origin: `${by}://${other.name}${other.port}`, fetchSite: undefined };
      t.equal(isForeign(sender, [own.name + own.port]), withPort(own) !== withPort(other));
      t.notOk(isForeign({ ...sender, origin: `${by}://${own.name}${own.port}` }, [own.name + own.port]));
      t.ok(isForeign({ ...sender, fetchSite: 'cross-site' }, [other.name + other.port]));
    }),
  );
  fc.assert(
    fc.property(fc.string(), (origin) =>
      t.ok(isForeign({ origin, fetchSite: undefined }, ['attic.example'])),
    ),
  );
  t.end();
});

/** What attackers and the owner do. */
const acts = fc.array(fc.record({ who: fc.nat(5), right: fc.boolean(), waitMs: fc.nat(20_000) }), {
  minLength: 1,
  maxLength: 200,
});

t.test('the more mistakes, the longer the wait; and who waits gets a try', (t) => {
  fc.assert(
    fc.property(acts, (row) => {
      let nowMs = 0;
      const attempts = createAttempts(() => nowMs);
      const mistakes = new Map<string, number>();
      for (const { who, right, waitMs } of row) {
        nowMs += waitMs;
        const address = `192.0.2.${who}`;
        const wait = attempts.waitMs(address);
        t.ok(wait >= 0 && wait <= 900_000);
        if (wait > 0) {
          nowMs += wait;
          t.equal(attempts.waitMs(address), 0, 'it is over when it was said to be');
        }
        if (right) {
          attempts.passed(address);
          mistakes.delete(address);
          t.equal(attempts.waitMs(address), 0);
        } else {
          attempts.failed(address);
          const count = (mistakes.get(address) ?? 0) + 1;
          mistakes.set(address, count);
          t.ok(attempts.waitMs(address) >= (count > 4 ? Math.min(900_000, 1000 * 2 ** (count - 5)) : 0));
        }
      }
    }),
  );
  t.end();
});

t.test('one home of IPv6 is one address, and what is none is one as well', (t) => {
  const attempts = createAttempts(() => 0);
  for (let turn = 0; turn < 5; turn += 1) attempts.failed(`2001:db8:1:2::${turn}`);
  t.ok(attempts.waitMs('2001:db8:1:2:ffff::9') > 0);
  t.equal(attempts.waitMs('2001:db8:1:3::1'), 0);
  for (let turn = 0; turn < 5; turn += 1) attempts.failed(`nonsense ${turn}`);
  t.ok(attempts.waitMs('') > 0);
  for (let turn = 0; turn < 5; turn += 1) attempts.failed('::ffff:192.0.2.7');
  t.ok(attempts.waitMs('192.0.2.7') > 0);
  t.end();
});

t.test('addresses without end do not fill the memory, and mistakes are forgiven', (t) => {
  let nowMs = 0;
  const attempts = createAttempts(() => nowMs);
  attempts.passed('192.0.2.1');
  for (let at = 0; at < 5000; at += 1) attempts.failed(`10.0.${at >> 8}.${at & 255}`);
  t.ok(attempts.waitMs('198.51.100.1') > 0, 'who has never been here waits');
  t.ok(attempts.waitMs('198.51.100.1') <= 10_000, 'but not long');
  t.equal(attempts.waitMs('192.0.2.1'), 0);
  nowMs += 7 * 24 * 3600_000;
  attempts.failed('198.51.100.1');
  t.equal(attempts.waitMs('198.51.100.2'), 0);
  t.end();
});

t.test('a session ends when it is not used, when it is old, and when there are too many', (t) => {
  let nowMs = 0;
  const sessions = createSessions(() => nowMs);
  const closed: string[] = [];
  const begin = (name: string): string => {
    const token = sessions.begin();
    sessions.find(token)!.onEnd(() => closed.push(name));
    return token;
  };
  const idle = begin('idle');
  nowMs += WEB_LIMITS.sessionIdleMs + 1;
  t.equal(sessions.find(idle), null);
  t.same(closed, ['idle'], 'what goes on in it ends with it');

  const used = begin('used');
  for (let days = 0; days < 90; days += 10, nowMs += 10 * 24 * 3600_000)
    t.ok(sessions.find(used), `day ${days}`);
  nowMs += 1;
  t.equal(sessions.find(used), null, 'in use, and old');

  const first = begin('first');
  const second = begin('second');
  sessions.find(first);
  for (let count = 0; count < WEB_LIMITS.sessions - 1; count += 1) sessions.begin();
  t.ok(sessions.find(first), 'used after the second');
  t.equal(sessions.find(second), null);

  const session = sessions.begin();
  sessions.find(session)!.onEnd(() => closed.push('taken back'))();
  sessions.end(session);
  sessions.end('never was');
  t.same(closed, ['idle', 'used', 'second']);
  t.equal(sessions.find(session), null);
  t.end();
});

t.test('no text but the password is the password', (t) => {
  fc.assert(
    fc.property(fc.string({ minLength: 1 }), fc.string(), (password, given) => {
      const isRight = passwordCheck(password);
      t.ok(isRight(password));
      t.equal(isRight(given), password === given);
    }),
  );
  t.end();
});

t.test('a part of a clip lies within it', (t) => {
  const number = fc.oneof(fc.constant(''), fc.nat(2000).map(String));
  fc.assert(
    fc.property(number, number, fc.integer({ min: 1, max: 1000 }), (first, last, bytes) => {
      const range = readRange(`bytes=${first}-${last}`, bytes);
      if (range === null || range === 'unfit') return;
      t.ok(range[0] >= 0 && range[0] <= range[1] && range[1] < bytes);
    }),
  );
  t.same(readRange('bytes=-5', 10), [5, 9]);
  t.same(readRange('bytes=-50', 10), [0, 9]);
  t.same(readRange('bytes=3-', 10), [3, 9]);
  t.same(readRange('bytes=3-3', 10), [3, 3]);
  t.equal(readRange('bytes=-0', 10), 'unfit');
  t.equal(readRange('bytes=10-', 10), 'unfit');
  t.equal(readRange('bytes=-1', 0), 'unfit');
  for (const text of [
    undefined,
    '',
    'bytes=',
    'bytes=-',
    'bytes=5-3',
    'bytes=1-2,4-5',
    'lines=1-2',
    'bytes=a-b',
  ]) {
    t.equal(readRange(text, 10), null, text ?? 'none');
  }
  t.end();
});

t.test('who a visitor is', (t) => {
  const read = createVisitorReader(['10.0.0.1'], '172.30.32.2');
  const from = (remoteAddress: string, headers: Record<string, string> = {}) =>
    read({ headers, socket: { remoteAddress } } as unknown as IncomingMessage);
  const forwarded = { 'x-forwarded-for': '192.0.2.9, 192.0.2.1', 'x-ingress-path': '/x' };
  t.match(from('::ffff:192.0.2.5', forwarded), { address: '192.0.2.5', isIngress: false, isSecure: false });
  t.match(from('10.0.0.1', forwarded), { address: '192.0.2.1', isIngress: false });
  t.match(from('::ffff:10.0.0.1', { 'x-forwarded-for': 'unknown' }), { address: '10.0.0.1' });
  t.match(from('::ffff:172.30.32.2', forwarded), { address: '172.30.32.2', isIngress: true });
  t.match(from('172.30.32.2'), { isIngress: false });
  t.match(from('192.0.2.5', { origin: 'https://attic.example' }), { isSecure: true });
  t.match(createVisitorReader([], null)({ headers: forwarded, socket: {} } as unknown as IncomingMessage), {
    address: '',
    isIngress: false,
  });
  t.end();
});

t.test('a request by another door is checked and carried out as one over MQTT', async (t) => {
  const control = createRecordingControl();
  const replies: unknown[] = [];
  const router = createCommandRouter({
    commands: commandTable(control),
    topics: createTopics('soundpost', 'test'),
    reply: (reply) => replies.push(reply),
    log: silentLogger,
  });
  const request = (name: string, payload: string) => router.request(name, Buffer.from(payload));
  t.same(await request('rate/set', '{"hz":2,"transaction":"x"}'), {
    status: 'ok',
    data: { rate_hz: 2, effective_rate_hz: 2 },
    transaction: 'x',
  });
  for (const [name, payload, code] of [
    ['rate/set', '2', 'invalid_payload'],
    ['rate/set', '{"hz":0}', 'invalid_request'],
    ['rate', '{}', 'unknown_command'],
    ['', '{}', 'unknown_command'],
    ['a b', '{}', 'unknown_command'],
    ['x'.repeat(100), '{}', 'unknown_command'],
    ['pause', JSON.stringify({ pad: 'x'.repeat(70_000) }), 'too_large'],
  ] as const) {
    t.match(await request(name, payload), { status: 'error', error: { code } }, name);
  }
  await router.stop();
  t.match(await request('pause', '{}'), { status: 'error', error: { code: 'shutting_down' } });
  t.same(control.calls, [['setRate', 2]]);
  t.same(replies, [], 'the broker is told nothing of it');
});
