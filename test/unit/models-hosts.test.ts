import { createHash } from 'node:crypto';
import { join } from 'node:path';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { obtainFromAddress, type SourceSettings } from '../../src/install/obtain.js';
import { isPublicAddress } from '../../src/common/public-address.js';
import { hostIsAmong, hostIsNamed, shownUrl } from '../../src/install/hosts.js';
import { startFileServer } from '../support/file-server.js';
import { temporaryFolder } from '../support/temporary.js';

const web = (host: string) => new URL(`https://${host}/x`);

t.test('hosts of a list', (t) => {
  const allowed = ['zenodo.org', '*.Example.org', '192.168.1.5:8080', '::1', 'port.example:443'];
  for (const host of [
    'zenodo.org',
    'ZENODO.org',
    'zenodo.org.',
    'zenodo.org:8443',
    'me:secret@zenodo.org',
    'a.example.org',
    'a.b.example.org',
    '192.168.1.5:8080',
    '[::1]:3000',
    '[0:0:0:0:0:0:0:1]',
    'port.example',
  ]) {
    t.ok(hostIsAmong(web(host), allowed), host);
  }
  for (const host of [
    'example.org',
    'evilzenodo.org',
    'zenodo.org.evil.net',
    'badexample.org',
    'zenodo.org@evil.net',
    'zenodo.org%2eevil.net',
    '192.168.1.5',
    '192.168.1.5:8081',
    'port.example:444',
  ]) {
    t.notOk(hostIsAmong(web(host), allowed), host);
  }
  t.ok(hostIsNamed(web('zenodo.org'), allowed));
  t.notOk(hostIsNamed(web('a.example.org'), allowed), 'a group is no name');
  t.equal(shownUrl(new URL('https://me:secret@a.example:8443/x/y?token=z')), 'https://a.example:8443/x/y');
  t.end();
});

t.test('addresses of the public internet', (t) => {
  for (const address of ['1.1.1.1', '188.185.1.1', '172.32.0.1', '2606:4700::1111', '64:ff9b::101:101']) {
    t.ok(isPublicAddress(address), address);
  }
  for (const address of [
    ...['127.0.0.1', '127.255.255.255', '0.0.0.0', '10.1.2.3', '172.16.0.1', '172.31.255.255', '192.168.0.1'],
    ...['169.254.169.254', '100.64.0.1', '224.0.0.251', '255.255.255.255', '198.18.0.1'],
    ...[
      '::1',
      '::',
      'fe80::1',
      'fe80::1%eth0',
      'fd00::1',
      'ff02::fb',
      '::ffff:127.0.0.1',
      '::ffff:192.168.1.1',
    ],
    ...['::7f00:1', '64:ff9b::c0a8:101', '2002:c0a8:101::1', 'fec0::1', 'no address', ''],
  ]) {
    t.notOk(isPublicAddress(address), address);
  }
  fc.assert(
    fc.property(fc.ipV4(), (address) => isPublicAddress(address) === isPublicAddress(`::ffff:${address}`)),
  );
  fc.assert(fc.property(fc.ipV6(), (address) => typeof isPublicAddress(address) === 'boolean'));
  t.end();
});

async function setUp(t: Test) {
  const server = await startFileServer(t);
  const bytes = Buffer.from('a network');
  server.files.set('/net.onnx', bytes);
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  const root = join(temporaryFolder(t), 'models');
  const obtain = (
    address: string,
    settings: Partial<SourceSettings>,
    given: { sha256?: string | null; addresses?: string[] } = {},
  ) =>
    obtainFromAddress(address, 'net.onnx', given.sha256 === undefined ? sha256 : given.sha256, {
      root,
      settings: { mirror: '', allowedHosts: [], requireDigest: true, ...settings },
      catalogue: { hosts: ['zenodo.org', '*.example.org'], models: [] },
      tuning: { retryDelaysMs: [], stallMs: 5000 },
      ...(given.addresses === undefined ? {} : { resolveHost: () => Promise.resolve(given.addresses!) }),
    }).then((file) => file.discard());
  return { server, obtain, port: server.port };
}

t.test('a command makes the device ask nobody in the local network', async (t) => {
  const { server, obtain, port } = await setUp(t);
  const refused = { code: 'host_not_allowed' };

  for (const host of [
    '127.0.0.1',
    '2130706433',
    '0x7f.1',
    '[::1]',
    '[::ffff:7f00:1]',
    'localhost',
    'LOCALHOST.',
  ]) {
    await t.rejects(obtain(`http://${host}:${port}/net.onnx`, {}), refused, host);
  }
  // Even where the name is in the list: what counts is where it leads to.
  for (const addresses of [['127.0.0.1'], ['1.1.1.1', '192.168.0.1'], ['fd00::1']]) {
    const own = `http://camera.example.org:${port}/net.onnx`;
    await t.rejects(obtain(own, {}, { addresses }), { ...refused, message: /not on the public internet/ });
    await t.rejects(obtain('https://zenodo.org/x', {}, { addresses }), refused, 'a name of the catalogue');
    await t.rejects(obtain(own, { allowedHosts: ['*.example.org'] }, { addresses }), refused, 'a group');
  }
  t.equal(server.requests.length, 0, 'and nobody was asked');

  await t.resolves(
    obtain(`${server.url}/net.onnx`, { allowedHosts: ['127.0.0.1'] }),
    'a named host may be local',
  );
  await t.resolves(obtain(`http://localhost:${port}/net.onnx`, { allowedHosts: [`localhost:${port}`] }));
  await t.rejects(
    obtain(`${server.url}/net.onnx`, { allowedHosts: ['127.0.0.1:1'] }),
    refused,
    'another port',
  );
  await t.rejects(obtain(`http://me:s3cret@127.0.0.1:${port}/net.onnx`, {}), refused).then((error) => {
    t.notMatch(String(error), /s3cret/, 'no password in a message');
  });
});

t.test('nor does a redirect', async (t) => {
  const { server, obtain, port } = await setUp(t);
  const start = `${server.url}/start`;
  const to = (location: string) => server.mischief.set('/start', { status: 302, location });

  to(`http://localhost:${port}/net.onnx`);
  await t.rejects(obtain(start, { allowedHosts: ['127.0.0.1'] }), { code: 'redirect_refused' });
  to(`http://inside.example.org:${port}/net.onnx`);
  await t.rejects(
    obtain(start, { allowedHosts: ['127.0.0.1', '*.example.org'] }, { addresses: ['10.0.0.1'] }),
    { code: 'host_not_allowed', message: /inside\.example\.org.*10\.0\.0\.1/ },
    'to a host that is in the list, but in the local network',
  );
  t.notOk(server.requests.some(({ path }) => path === '/net.onnx'));
  to('/net.onnx');
  await t.resolves(obtain(start, { allowedHosts: ['127.0.0.1'] }));
});

t.test('what has no digest comes encrypted, or from a named host', async (t) => {
  const { server, obtain, port } = await setUp(t);
  const given = { sha256: null };
  await t.rejects(obtain(`${server.url}/net.onnx`, { allowedHosts: ['127.0.0.1'] }, given), {
    code: 'digest_required',
    message: /models\.require_digest/,
  });
  await t.rejects(obtain(`http://a.example.org:${port}/net.onnx`, { requireDigest: false }, given), {
    code: 'digest_required',
    message: /https:\/\//,
  });
  await t.resolves(
    obtain(`${server.url}/net.onnx`, { requireDigest: false, allowedHosts: ['127.0.0.1'] }, given),
  );
});
