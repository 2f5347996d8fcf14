import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, statfsSync } from 'node:fs';
import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { download, type DownloadRequest, type DownloadTuning } from '../../src/install/download.js';
import { startFileServer, type FileServer } from '../support/file-server.js';
import { temporaryFolder } from '../support/temporary.js';
import { cannotMount } from '../support/small-disk.js';

const body = randomBytes(1_000_003);

async function setUp(t: Test, name = 'weights.pt') {
  const server = await startFileServer(t);
  server.files.set(`/${name}`, body);
  const folder = temporaryFolder(t);
  const path = join(folder, name);
  const fetchFile = (changes: Partial<DownloadRequest> = {}, tuning: Partial<DownloadTuning> = {}) =>
    download(
      { url: new URL(`${server.url}/${name}`), path, allowedHosts: [], ...changes },
      { retryDelaysMs: [1, 1], stallMs: 5000, ...tuning },
    );
  return { server, folder, path, fetchFile };
}

const ranges = (server: FileServer) => server.requests.map(({ range }) => range);

t.test('a file comes whole, and nothing is left beside it', async (t) => {
  const { server, folder, path, fetchFile } = await setUp(t, 'Cnn14_mAP=0.431.pth');
  const seen: [number, number | null][] = [];
  t.same(await fetchFile({ onProgress: (done, total) => seen.push([done, total]) }), { bytes: body.length });
  t.ok(body.equals(await readFile(path)));
  t.same(await readdir(folder), ['Cnn14_mAP=0.431.pth']);
  t.same(seen.at(0), [0, body.length]);
  t.same(seen.at(-1), [body.length, body.length]);
  t.same(ranges(server), [undefined]);
});

t.test('a connection that is cut is taken up again where it broke', async (t) => {
  const { server, path, fetchFile } = await setUp(t);
  server.mischief.set('/weights.pt', { cutAfter: { bytes: 300_000, times: 3 } });
  await fetchFile();
  t.ok(body.equals(await readFile(path)));
  t.equal(server.requests.length, 4, 'progress gives new tries');
  t.match(ranges(server), [undefined, /^bytes=\d+-$/, /^bytes=\d+-$/, /^bytes=\d+-$/]);
});

t.test('a later call goes on with what an earlier one left', async (t) => {
  const { server, path, fetchFile } = await setUp(t);
  server.mischief.set('/weights.pt', { cutAfter: { bytes: 300_000, times: 1 } });
  await t.rejects(fetchFile({}, { retryDelaysMs: [] }), { code: 'download_cut', message: /pull again/ });
  const part = (await stat(`${path}.part`)).size;
  t.ok(part > 0 && part <= 300_000);
  await fetchFile();
  t.ok(body.equals(await readFile(path)));
  t.equal(server.requests[1]?.range, `bytes=${part}-`);

  await t.test('but not where the file has changed meanwhile', async (t) => {
    const { server, path, fetchFile } = await setUp(t);
    server.mischief.set('/weights.pt', { cutAfter: { bytes: 300_000, times: 1 } });
    await t.rejects(fetchFile({}, { retryDelaysMs: [] }), { code: 'download_cut' });
    const other = randomBytes(500_000);
    server.files.set('/weights.pt', other);
    await fetchFile();
    t.ok(other.equals(await readFile(path)));
  });

  for (const trick of [{ noRanges: true }, { noValidator: true }]) {
    await t.test(`nor where the server has ${Object.keys(trick)[0]!}`, async (t) => {
      const { server, path, fetchFile } = await setUp(t);
      server.mischief.set('/weights.pt', { ...trick, cutAfter: { bytes: 300_000, times: 1 } });
      await fetchFile();
      t.ok(body.equals(await readFile(path)));
      t.equal(server.requests.length, 2);
    });
  }
});

t.test('a body of unknown length', async (t) => {
  const { server, path, fetchFile } = await setUp(t);
  server.mischief.set('/weights.pt', { chunked: true, cutAfter: { bytes: 200_000, times: 1 } });
  const totals = new Set<number | null>();
  await fetchFile({ onProgress: (_, total) => totals.add(total) });
  t.ok(body.equals(await readFile(path)), 'and a cut in it is noticed');
  t.same([...totals], [null]);
  await t.rejects(fetchFile({ maxBytes: 100_000 }), { code: 'download_too_large' });
});

t.test('a server that stalls is given up after a while, and asked again', async (t) => {
  const { server, path, fetchFile } = await setUp(t);
  server.mischief.set('/weights.pt', { stallAfter: 300_000 });
  await t.rejects(fetchFile({}, { stallMs: 100, retryDelaysMs: [] }), { code: 'download_stalled' });
  t.ok((await stat(`${path}.part`)).size > 0, 'what came is kept');
  server.mischief.clear();
  await fetchFile();
  t.ok(body.equals(await readFile(path)));
});

t.test('a server that drips is given up, and so is one that never ends', async (t) => {
  const { server, path, fetchFile } = await setUp(t);
  server.mischief.set('/weights.pt', { stallAfter: 300_000 });
  // It would be silent for half a minute before that is called a stall.
  const slow = fetchFile({}, { slow: { bytes: 1e9, ms: 100 }, retryDelaysMs: [1, 1, 1] });
  await t.rejects(slow, { code: 'download_stalled', message: /too slow: \d+ bytes came in 0.1 s/ });
  t.equal(server.requests.length, 1, 'it is not asked again');
  t.ok((await stat(`${path}.part`)).size > 0, 'what came is kept');
  const late = fetchFile({}, { deadlineMs: 100, retryDelaysMs: [1, 1, 1] });
  await t.rejects(late, { code: 'download_stalled', message: /took longer than/ });
});

t.test('answers that are no file', async (t) => {
  const { server, fetchFile } = await setUp(t);
  const answers: [status: number, requests: number, message: RegExp][] = [
    [404, 1, /does not exist/],
    [403, 1, /may not be read/],
    [400, 1, /answered 400/],
    [503, 3, /Try again later/],
  ];
  for (const [status, count, message] of answers) {
    server.requests.length = 0;
    server.mischief.set('*', { status });
    await t.rejects(fetchFile(), { code: 'download_refused', message }, String(status));
    t.equal(server.requests.length, count, `${status} is asked ${count} times`);
  }
});

t.test('no way to the server', async (t) => {
  const { server, fetchFile } = await setUp(t);
  await server.close();
  await t.rejects(fetchFile(), { code: 'offline', message: /models\.mirror/ });
  await t.rejects(fetchFile({ url: new URL('http://nowhere.invalid/x') }), {
    code: 'offline',
    message: /nowhere\.invalid cannot be reached/,
  });
});

t.test('credentials that are not encoded', async (t) => {
  const { server, fetchFile } = await setUp(t);
  const url = new URL(server.url.replace('//', '//me:100%@'));
  await t.rejects(fetchFile({ url }), { code: 'download_refused', message: /%25/ });
  t.equal(server.requests.length, 0);
});

t.test('redirects', async (t) => {
  const { server, path, fetchFile } = await setUp(t);
  const from = (location: string) => server.mischief.set('/start', { status: 302, location });
  const url = new URL(`${server.url.replace('//', '//me:s%40cret@')}/start`);

  from('/weights.pt');
  await fetchFile({ url });
  t.ok(body.equals(await readFile(path)), 'on the same host');
  t.match(
    server.requests.map(({ authorization }) => authorization),
    [`Basic ${Buffer.from('me:s@cret').toString('base64')}`, /Basic/],
  );

  const elsewhere = `http://localhost:${server.port}/weights.pt`;
  from(elsewhere);
  await t.rejects(fetchFile({ url }), {
    code: 'redirect_refused',
    message: /localhost.*models\.allowed_hosts/,
  });
  server.requests.length = 0;
  await fetchFile({ url, allowedHosts: ['localhost'] });
  t.equal(server.requests.at(-1)?.authorization, undefined, 'a password stays with its host');

  for (const location of ['file:///etc/passwd', 'ftp://127.0.0.1/x', 'http://[']) {
    from(location);
    await t.rejects(fetchFile({ url }), { code: 'redirect_refused' }, location);
  }
  from('/start');
  await t.rejects(fetchFile({ url }), { code: 'redirect_refused', message: /on and on/ });
  t.notMatch(await fetchFile({ url }).catch(String), /s@cret|s%40cret/, 'no password in a message');
});

t.test('being called off', async (t) => {
  const { server, path, fetchFile } = await setUp(t);
  server.mischief.set('/weights.pt', { stallAfter: 300_000 });
  const abort = new AbortController();
  const done = fetchFile({
    signal: abort.signal,
    onProgress: (bytes) => {
      if (bytes >= 300_000) abort.abort();
    },
  });
  await t.rejects(done, { code: 'aborted' });
  t.equal((await stat(`${path}.part`)).size, 300_000, 'what came is kept');
  await t.rejects(fetchFile({ signal: AbortSignal.abort() }), { code: 'aborted' });
});

t.test('the disk', async (t) => {
  const { server, folder, fetchFile } = await setUp(t);
  const freeBytes = () => Promise.resolve(2_000_000);
  await t.rejects(fetchFile({ reserveBytes: 1_500_000 }, { freeBytes }), {
    code: 'disk_full',
    message: /needed/,
  });
  t.equal(server.requests.length, 1, 'the server says how long it is');
  await t.rejects(fetchFile({ expectedBytes: 5e6 }, { freeBytes }), { code: 'disk_full' });
  t.equal(server.requests.length, 1, 'what is known to be too long is not asked for');
  t.same(await readdir(folder), []);
});

t.test('a disk that gets full on the way', { skip: cannotMount() }, async (t) => {
  const { folder, fetchFile } = await setUp(t);
  const small = join(folder, 'small');
  mkdirSync(small);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=512k', 'tmpfs', small]);
  t.teardown(() => execFileSync('umount', [small]));
  t.ok(statfsSync(small).bavail > 0);
  const freeBytes = () => Promise.resolve(1e9);
  await t.rejects(fetchFile({ path: join(small, 'weights.pt') }, { freeBytes }), {
    code: 'disk_full',
    message: /disk is full/,
  });
  t.same(await readdir(small), [], 'and is not left full');
  await t.rejects(
    fetchFile({ path: join(small, 'weights.pt') }),
    { code: 'disk_full' },
    'as statfs says too',
  );
});

t.test('a note that makes no sense is not gone by', async (t) => {
  const { path, fetchFile } = await setUp(t);
  await writeFile(`${path}.part`, 'something else');
  await writeFile(`${path}.part.json`, '{"url":3');
  await fetchFile();
  t.ok(body.equals(await readFile(path)));
});
