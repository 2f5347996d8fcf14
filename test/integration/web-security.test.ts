/** The page's server under attack, each by a real client on loopback. */
import { networkInterfaces } from 'node:os';
import { Readable } from 'node:stream';
import t, { type Test } from 'tap';
import { codeOf } from '../../src/common/errors.js';
import { silentLogger } from '../../src/common/log.js';
import { MAX_REQUEST_BYTES } from '../../src/mqtt/command-request.js';
import { commandSpecs } from '../../src/mqtt/command-specs.js';
import { createWeb } from '../../src/web/web.js';
import { until } from '../support/waiting.js';
import { ask, rawConnection, readFeed, signIn, startWeb, type RunningWeb } from '../support/web.js';

const PASSWORD = 'correct horse';
/** The one thing that may be asked for by who has not signed in, beside the files of the page. */
const API = ['/api/feed', '/api/spectrogram', '/api/clips/abc', '/api/openapi.json', '/api/nothing'];

const post = (headers: Record<string, string> = {}, body = '{}') => ({ body, headers });

t.test('without a password it does not open to the network', async (t) => {
  for (const host of ['0.0.0.0', '::', '192.0.2.1']) {
    const web = createWeb({
      host,
      port: 0,
      pageFolder: null,
      openApiFile: null,
      execute: () => Promise.resolve({ status: 'ok', data: {} }),
      log: silentLogger,
    });
    const error: unknown = await web.start().catch((reason: unknown) => reason);
    t.equal(codeOf(error), 'web_unprotected', host);
    t.match(String(error), /web\.password/);
    await web.stop();
  }
});

t.test('what takes its place is said', async (t) => {
  const { port } = await startWeb(t);
  await t.rejects(startWeb(t, { port }), { code: 'port_in_use' });
  await t.rejects(startWeb(t, { host: '192.0.2.1', password: PASSWORD }), { code: 'web_failed' });
});

t.test('on loopback nobody is asked', async (t) => {
  const { port, control } = await startWeb(t);
  t.same((await ask(port, '/api/session')).json, {
    status: 'ok',
    data: { password_required: false, signed_in: true },
  });
  t.equal((await ask(port, '/api/request/pause', post())).status, 200);
  t.same(control.calls, [['setPaused', true]]);
});

t.test('a password is asked for, wherever the visitor is', async (t) => {
  const { port, control } = await startWeb(t, { password: PASSWORD });
  for (const path of API.slice(0, -1)) {
    const answer = await ask(port, path);
    t.same([answer.status, answer.code], [401, 'not_signed_in'], path);
  }
  for (const command of Object.keys(commandSpecs)) {
    t.equal((await ask(port, `/api/request/${command}`, post())).status, 401, command);
  }
  t.same(control.calls, []);
  t.equal((await ask(port, '/')).status, 200, 'the page is there, to sign in on');
  t.equal((await ask(port, '/api/login', post({}, '{"password":"wrong"}'))).code, 'password_wrong');
  for (const [body, code] of [
    ['', 'invalid_payload'],
    ['{', 'invalid_payload'],
    ['null', 'invalid_request'],
    ['{}', 'invalid_request'],
    ['{"password":["correct horse"]}', 'invalid_request'],
    ['{"password":"correct horse","user":"x"}', 'invalid_request'],
    [JSON.stringify({ password: 'x'.repeat(5000) }), 'too_large'],
  ] as const) {
    t.equal((await ask(port, '/api/login', post({}, body))).code, code, body.slice(0, 40));
  }

  const cookie = await signIn(port, PASSWORD);
  t.equal((await ask(port, '/api/request/pause', post({ cookie }))).status, 200);
  t.equal((await ask(port, '/api/request/pause', post({ cookie: `${cookie.slice(0, -1)}_` }))).status, 401);
  t.equal((await ask(port, '/api/request/pause', post({ cookie: `a=b; ${cookie}; c=d` }))).status, 200);
  t.same((await ask(port, '/api/session', { headers: { cookie } })).json, {
    status: 'ok',
    data: { password_required: true, signed_in: true },
  });

  const feed = await readFeed(port, '/api/feed', { cookie });
  t.equal(feed.status, 200);
  const gone = await ask(port, '/api/logout', post({ cookie }));
  t.match(gone.headers['set-cookie']?.[0], /^soundpost-\d+=; .*Max-Age=0/);
  await feed.ended;
  t.equal((await ask(port, '/api/request/pause', post({ cookie }))).status, 401, 'the session is over');
});

t.test('the cookie', async (t) => {
  const { port } = await startWeb(t, { password: PASSWORD, hosts: ['attic.example'] });
  const login = (headers: Record<string, string>) =>
    ask(port, '/api/login', post(headers, JSON.stringify({ password: PASSWORD })));
  const [plain] = (await login({})).headers['set-cookie'] ?? [];
  t.match(plain, new RegExp(`^soundpost-${port}=[\\w-]{43}; Path=/; HttpOnly; SameSite=Strict$`));
  for (const headers of [
    { host: 'attic.example', origin: 'https://attic.example' },
    { 'x-forwarded-proto': 'https' },
  ]) {
    const [secure] = (await login(headers)).headers['set-cookie'] ?? [];
    t.match(secure, /^__Host-soundpost-\d+=[\w-]{43}; Path=\/; HttpOnly; SameSite=Strict; Secure$/);
    t.equal((await ask(port, '/api/request/pause', post({ cookie: secure!.split(';')[0]! }))).status, 200);
  }
  const session = { cookie: plain!.split(';')[0]! };
  t.equal((await ask(port, '/api/request/pause', post(session))).status, 200, 'the others are still in');
});

t.test('guessing a password takes longer and longer', async (t) => {
  let nowMs = 0;
  const { port, log } = await startWeb(t, { password: PASSWORD, now: () => nowMs, proxies: ['127.0.0.1'] });
  const tried = async (password: string, from: string): Promise<string | number> => {
    const answer = await ask(
      port,
      '/api/login',
      post({ 'x-forwarded-for': `203.0.113.9, ${from}` }, JSON.stringify({ password })),
    );
    return answer.code === 'too_many_attempts'
      ? Number(answer.headers['retry-after'])
      : (answer.code ?? 'in');
  };
  for (let turn = 0; turn < 5; turn += 1)
    t.equal(await tried(`wrong ${turn}`, '203.0.113.1'), 'password_wrong');
  t.equal(await tried(PASSWORD, '203.0.113.1'), 1, 'even the right one is not looked at');
  t.equal(await tried(PASSWORD, '203.0.113.2'), 'in', 'others are not kept out');
  let waited = 0;
  for (let turn = 0; turn < 12; turn += 1) {
    const seconds = Number(await tried('wrong', '203.0.113.1'));
    t.ok(seconds >= waited && seconds <= 900, `${seconds} s`);
    waited = seconds;
    nowMs += seconds * 1000;
    t.equal(await tried('wrong', '203.0.113.1'), 'password_wrong');
  }
  t.equal(waited, 900);

  // Many addresses, each with no mistake before.
  let held = 0;
  for (let guess = 0; guess < 100; guess += 1) {
    if (typeof (await tried('wrong', `198.51.100.${guess}`)) === 'number') held += 1;
  }
  t.ok(held > 60, `${held} of 100 were held back`);
  t.equal(await tried(PASSWORD, '203.0.113.2'), 'in', 'who has been here before is not kept out by them');
  t.ok(log.lines.some(({ fields }) => fields.code === 'password_wrong'));
  t.notMatch(JSON.stringify(log.lines), PASSWORD);
});

t.test('what a visitor says of their own address is not believed', async (t) => {
  const { port } = await startWeb(t, { password: PASSWORD, now: () => 0 });
  const codes: (string | undefined)[] = [];
  for (let turn = 0; turn < 6; turn += 1) {
    const headers = { 'x-forwarded-for': `203.0.113.${turn}` };
    codes.push((await ask(port, '/api/login', post(headers, '{"password":"wrong"}'))).code);
  }
  t.equal(codes.at(-1), 'too_many_attempts');
});

t.test('a name that somebody else has made to lead here (DNS rebinding)', async (t) => {
  const { port, control } = await startWeb(t, { hosts: ['attic.example', '2001:db8::7'] });
  for (const host of [
    'evil.example',
    `evil.example:${port}`,
    'localhost.evil.example',
    '127.0.0.1.evil.example',
    'attic.example.evil.example',
    'attic.example@evil.example',
    '192.168.1.5',
    '[::2]',
    '[evil.example]',
    '..',
    'localhost:8099:1',
  ]) {
    for (const path of ['/', '/api/session', '/api/feed']) {
      t.equal((await ask(port, path, { headers: { host } })).status, 421, `${host} ${path}`);
    }
    t.equal((await ask(port, '/api/request/pause', post({ host }))).code, 'host_refused', host);
  }
  t.same(control.calls, []);
  for (const host of [
    'localhost',
    `127.0.0.1:${port}`,
    'LOCALHOST:1',
    'attic.example',
    'Attic.Example.:80',
    '[::1]:8099',
    '[2001:db8::7]',
  ]) {
    t.equal((await ask(port, '/', { headers: { host } })).status, 200, host);
  }
  for (const head of ['GET http://localhost/ HTTP/1.0', 'GET / HTTP/1.1\r\nHost:\r\nConnection: close']) {
    const { socket, received, closed } = await rawConnection(port);
    socket.write(`${head}\r\n\r\n`);
    await closed;
    t.match(received(), /^HTTP\/1\.1 421 /, head);
  }
});

t.test('every address of this machine is its own where it listens on all of them', async (t) => {
  const { port } = await startWeb(t, { host: '0.0.0.0', password: PASSWORD });
  const addresses = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  for (const { address, family } of addresses) {
    const host = family === 'IPv6' ? `[${address.split('%')[0]}]` : address;
    t.equal((await ask(port, '/', { headers: { host } })).status, 200, host);
  }
  t.equal((await ask(port, '/', { headers: { host: 'evil.example' } })).status, 421);
});

t.test('a page of somebody else sends a request (CSRF)', async (t) => {
  const { port, control } = await startWeb(t);
  const own = `127.0.0.1:${port}`;
  for (const headers of [
    { origin: 'https://evil.example' },
    { origin: `http://127.0.0.1:${port + 1}` },
    { origin: 'http://127.0.0.1' },
    { origin: `http://localhost:${port}` },
    { origin: 'null' },
    { origin: '' },
    { origin: 'file://' },
    { origin: `http://${own}@evil.example` },
    { origin: `http://${own}, http://${own}` },
    { 'sec-fetch-site': 'cross-site' },
    { 'sec-fetch-site': 'same-site', origin: `http://${own}` },
    { 'sec-fetch-site': 'same-origin', origin: 'https://evil.example' },
  ] as Record<string, string>[]) {
    const said = JSON.stringify(headers);
    for (const path of ['/api/request/pause', '/api/login', '/api/logout']) {
      t.equal((await ask(port, path, post(headers))).code, 'origin_refused', `${said} ${path}`);
    }
    t.equal((await ask(port, '/api/feed', { headers })).status, 403, said);
  }
  for (const type of [
    'text/plain',
    'application/x-www-form-urlencoded',
    'multipart/form-data',
    'application/jsonx',
  ]) {
    const answer = await ask(port, '/api/request/pause', post({ 'content-type': type }));
    t.equal(answer.code, 'not_json', type);
  }
  const untyped = await rawConnection(port);
  untyped.socket.write(
    `POST /api/request/pause HTTP/1.1\r\nHost: ${own}\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}`,
  );
  await untyped.closed;
  t.match(untyped.received(), /^HTTP\/1\.1 415 /);
  for (const method of ['GET', 'HEAD', 'PUT', 'DELETE', 'OPTIONS', 'PATCH']) {
    t.equal((await ask(port, '/api/request/pause', { method })).status, 405, method);
  }
  t.same(control.calls, []);

  for (const headers of [
    { origin: `http://${own}` },
    { origin: `http://${own}`, 'sec-fetch-site': 'same-origin' },
    { origin: 'null', 'sec-fetch-site': 'same-origin' },
    { 'sec-fetch-site': 'none' },
    { host: 'localhost', origin: 'https://localhost' },
  ] as Record<string, string>[]) {
    t.equal((await ask(port, '/api/request/pause', post(headers))).status, 200, JSON.stringify(headers));
  }
  const allowed = await ask(port, '/api/feed', { method: 'OPTIONS', headers: { origin: `http://${own}` } });
  t.notOk(
    Object.keys(allowed.headers).some((name) => name.startsWith('access-control')),
    'no CORS',
  );
});

t.test('paths out of the page’s folder', async (t) => {
  const asked: string[] = [];
  const { port } = await startWeb(t, {
    findClip: (id) => {
      asked.push(id);
      return Promise.resolve(null);
    },
  });
  for (const path of [
    '/../package.json',
    '/assets/../../package.json',
    '/..%2f..%2fetc/passwd',
    '/%2e%2e/package.json',
    '//etc/passwd',
    '/assets/..\\..\\x',
    '/.secret.json',
    '/assets',
    '/assets/',
    '/index.html/',
    '/index.html%00.js',
    '/INDEX.HTML',
    '/__proto__',
    '/constructor',
    'http://127.0.0.1/index.html',
    '/api/openapi.json/../session',
  ]) {
    t.equal((await ask(port, path)).status, 404, path);
  }
  for (const id of ['..', '../x', '..%2fx', '%2e%2e', 'a.flac', 'a/b', '', 'a\\b', 'a%00', 'x'.repeat(129)]) {
    t.equal((await ask(port, `/api/clips/${id}`)).status, 404, id);
  }
  t.same(asked, [], 'nobody was asked for them');
  t.equal((await ask(port, `/api/clips/20260102-aZ_9`)).status, 404);
  t.same(asked, ['20260102-aZ_9']);
  for (const source of ['../x', 'A', 'a%20b', '%22', 'x'.repeat(33)]) {
    t.equal((await ask(port, `/api/spectrogram?source=${source}`)).status, 404, source);
  }
});

t.test('every reply forbids what the page does not need', async (t) => {
  const clip = {
    contentType: 'audio/flac',
    fileName: 'a"\r\n.flac',
    bytes: 3,
    read: () => Readable.from(['abc']),
  };
  const { port } = await startWeb(t, { findClip: () => Promise.resolve(clip) });
  for (const path of [
    '/',
    '/assets/index-a1B2c3D4.js',
    '/nothing',
    '/api/session',
    '/api/nothing',
    '/api/clips/a',
  ]) {
    const { headers } = await ask(port, path);
    const policy = String(headers['content-security-policy']);
    t.match(policy, /^default-src 'none'; /, path);
    t.match(policy, /frame-ancestors 'self'/);
    t.match(policy, /base-uri 'none'/);
    t.notMatch(policy, /unsafe|\*|https?:|data:|blob:/);
    t.match(headers, {
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'no-referrer',
      'cross-origin-resource-policy': 'same-origin',
      'x-frame-options': 'SAMEORIGIN',
    });
    t.equal(headers['x-powered-by'], undefined);
    t.equal(headers['server'], undefined);
  }
  t.equal(
    (await ask(port, '/api/clips/a')).headers['content-disposition'],
    'inline; filename="a___.flac"',
    'no header is made of a name',
  );
});

t.test('what is sent comes back as data, and never as a page', async (t) => {
  const { port, web } = await startWeb(t);
  const markup = '<script>alert(1)</script>';
  const unknown = await ask(port, '/api/request/x<script>', post());
  t.equal(unknown.status, 404);
  t.notMatch(unknown.body.toString(), /<script>/);
  const echoed = await ask(port, '/api/request/pause', post({}, JSON.stringify({ transaction: markup })));
  t.match(echoed.headers['content-type'], /^application\/json/);
  t.same(echoed.json, { status: 'ok', data: { paused: true }, transaction: markup });
  web.publish('label', 'ON', { slug: `dog\n\nevent: x\ndata: {}\n\n` });
  const feed = await readFeed(port);
  await feed.until(() => feed.events.length > 1, 'the snapshot');
  t.same(
    feed.events.map(({ name }) => name),
    ['label', 'ready'],
    'a line break makes no event of its own',
  );
  feed.close();
});

t.test('requests that are too large, or never end', async (t) => {
  const { port, control } = await startWeb(t, { limits: { headersMs: 500, requestMs: 1000, idleMs: 500 } });
  const tooLarge = await ask(
    port,
    '/api/request/pause',
    post({}, JSON.stringify({ pad: 'x'.repeat(MAX_REQUEST_BYTES) })),
  );
  t.same([tooLarge.status, tooLarge.code], [413, 'too_large']);
  const huge = await ask(port, '/api/request/pause', post({}, 'x'.repeat(5_000_000)));
  t.equal(huge.code, 'too_large', 'who sends on is answered as well');
  const chunked = await ask(
    port,
    '/api/request/pause',
    post({ 'transfer-encoding': 'chunked' }, 'x'.repeat(200_000)),
  );
  t.equal(chunked.code, 'too_large');
  t.equal((await ask(port, '/', { headers: { 'x-pad': 'x'.repeat(20_000) } })).status, 431);
  t.equal((await ask(port, `/${'x'.repeat(20_000)}`)).status, 431);

  const head = `Host: 127.0.0.1:${port}\r\n`;
  const slow: Record<string, string> = {
    'nothing at all': '',
    'a head that stops': `GET / HTTP/1.1\r\n${head}X-A: `,
    'a body that stops': `POST /api/request/pause HTTP/1.1\r\n${head}Content-Type: application/json\r\nContent-Length: 10\r\n\r\n{`,
    'a chunk that stops': `POST /api/request/pause HTTP/1.1\r\n${head}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{`,
    'a connection that is kept': `GET /api/session HTTP/1.1\r\n${head}\r\n`,
    'a body that nobody wants': `POST /api/nothing HTTP/1.1\r\n${head}Content-Length: 10\r\n\r\n{`,
  };
  await Promise.all(
    Object.entries(slow).map(async ([what, text]) => {
      const connection = await rawConnection(port);
      connection.socket.write(text);
      await connection.closed;
      t.pass(what);
    }),
  );
  // A byte now and then does not keep a head alive.
  const drip = await rawConnection(port);
  drip.socket.write(`GET / HTTP/1.1\r\n${head}`);
  const timer = setInterval(() => drip.socket.write('X'), 50);
  await drip.closed;
  clearInterval(timer);
  for (const text of [
    'nonsense\r\n\r\n',
    '\x16\x03\x01\x02',
    `GET / HTTP/1.1\r\n${head}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n`,
    'CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n',
  ]) {
    const connection = await rawConnection(port);
    connection.socket.write(text);
    await connection.closed;
    t.notMatch(connection.received(), /^HTTP\/1\.1 2/, JSON.stringify(text.slice(0, 20)));
  }
  t.same(control.calls, []);
  t.equal((await ask(port, '/api/session')).status, 200);
});

t.test('more connections than there may be', async (t) => {
  const { port } = await startWeb(t, { limits: { connections: 5 } });
  const taken = await Promise.all(Array.from({ length: 5 }, () => rawConnection(port)));
  await t.rejects(ask(port, '/api/session'));
  taken.forEach(({ socket }) => socket.destroy());
  await Promise.all(taken.map(({ closed }) => closed));
});

t.test('one address may not take all connections', async (t) => {
  const other = ownAddress();
  const limits = { connectionsPerAddress: 3 };
  const { port } = await startWeb(t, { host: '0.0.0.0', password: PASSWORD, limits });
  const local = await Promise.all(Array.from({ length: 5 }, () => rawConnection(port)));
  t.equal((await ask(port, '/')).status, 200, 'this machine may');
  local.forEach(({ socket }) => socket.destroy());
  if (other === undefined) {
    t.comment('this machine has no address but loopback');
    return;
  }
  const taken = await Promise.all(Array.from({ length: 3 }, () => rawConnection(port, other)));
  await t.rejects(ask(port, '/', { to: other }), { code: 'ECONNRESET' });
  t.equal((await ask(port, '/')).status, 200, 'others are answered');
  taken.forEach(({ socket }) => socket.destroy());
  await Promise.all(taken.map(({ closed }) => closed));
  await until(
    () =>
      ask(port, '/', { to: other }).then(
        ({ status }) => status === 200,
        () => false,
      ),
    'its places are free again',
    20,
  );
});

/** An address of this machine that is not loopback, where it has one. */
function ownAddress(): string | undefined {
  const addresses = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  return addresses.find(({ internal, family }) => !internal && family === 'IPv4')?.address;
}

t.test('Home Assistant’s ingress', async (t) => {
  const through = { host: 'home.example:8123', 'x-ingress-path': '/api/hassio_ingress/abc' };

  async function refusesIngress(t: Test, { port }: RunningWeb): Promise<void> {
    t.equal((await ask(port, '/', { headers: through })).status, 421, 'a header alone opens nothing');
    const asIngress = { ...through, host: '127.0.0.1' };
    t.equal((await ask(port, '/api/feed', { headers: asIngress })).status, 401);
  }
  await refusesIngress(t, await startWeb(t, { password: PASSWORD }));
  await refusesIngress(t, await startWeb(t, { password: PASSWORD, ingressFrom: '172.30.32.2' }));

  const { port, control } = await startWeb(t, { password: PASSWORD, ingressFrom: '127.0.0.1' });
  t.equal((await ask(port, '/', { headers: through })).status, 200);
  t.same((await ask(port, '/api/session', { headers: through })).json, {
    status: 'ok',
    data: { password_required: false, signed_in: true },
  });
  t.equal((await ask(port, '/api/feed', { headers: { host: '127.0.0.1' } })).status, 401, 'not through it');
  const own = { ...through, origin: 'https://home.example:8123' };
  t.equal((await ask(port, '/api/request/pause', post(own))).status, 200);
  const behind = {
    ...through,
    host: 'internal:8123',
    'x-forwarded-host': 'home.example',
    origin: 'https://home.example',
  };
  t.equal((await ask(port, '/api/request/pause', post(behind))).status, 200);
  t.equal(control.calls.length, 2);
  t.equal(
    (await ask(port, '/api/request/pause', post({ ...through, origin: 'https://evil.example' }))).status,
    403,
  );
  t.equal(control.calls.length, 2);
});

t.test('without a password only the ingress is let in from the network', async (t) => {
  const other = ownAddress();
  const { port } = await startWeb(t, { host: '0.0.0.0', ingressFrom: '172.30.32.2' });
  t.equal((await ask(port, '/api/session')).status, 200, 'this machine');
  if (other === undefined) {
    t.comment('this machine has no address but loopback');
    return;
  }
  await t.rejects(
    ask(port, '/api/session', { to: other }),
    { code: 'ECONNRESET' },
    'everybody else is cut off',
  );
});
