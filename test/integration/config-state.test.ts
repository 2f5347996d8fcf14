import fc from 'fast-check';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import t from 'tap';
import { healthCommand } from '../../src/cli/health.js';
import { writeFileAtomic } from '../../src/common/atomic-file.js';
import { serveHealth } from '../../src/service/health-socket.js';
import { createHealthFile, readHealth, readHeartbeat } from '../../src/service/health-file.js';
import { silentLogger, type Logger } from '../../src/common/log.js';
import { createLogger, redactor, type LoggerOptions, type Problem } from '../../src/common/logger.js';
import { createSuppressor } from '../../src/common/suppress.js';
import { openStateStore } from '../../src/config/state-store.js';
import type { LabelGroup } from '../../src/tagging/watch.js';
import { temporaryFolder } from '../support/temporary.js';

/** A logger that keeps what it is told. */
function recordingLogger(): Logger & { records: { level: string; message: string; code: unknown }[] } {
  const records: { level: string; message: string; code: unknown }[] = [];
  const at =
    (level: string) =>
    (fields: object & { code?: string }, message: string): void =>
      void records.push({ level, message, code: fields.code });
  return { records, debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

t.test('remembered state', (t) => {
  t.test('survives a restart', async (t) => {
    const dataDir = join(temporaryFolder(t), 'data');
    // Whatever a group may say: a key that there is tomorrow and not here is no `Required<LabelGroup>`.
    const everything: Required<LabelGroup> = {
      name: 'Pets',
      labels: ['Dog', 'Cat'],
      threshold: 0.3,
      confirm: '2/3',
      min_duration_seconds: 1.5,
      min_gap_seconds: 9,
      device_class: 'smoke',
    };
    const labels = ['Dog', { name: 'Alarm', labels: ['Siren'] }, everything];
    const first = await openStateStore({ dataDir, log: silentLogger });
    t.equal(first.get('model', 'a'), undefined);
    await first.set('model', 'b', 'a');
    await first.set('threshold', 0.4, null);
    await first.set('labels', labels, []);
    await first.set('thresholds', { 'Bee, wasp, etc.': 0.2 }, {});
    await first.set('paused', true, false);
    await first.set('audio_device', 2, '');
    labels.push('Cat');
    const second = await openStateStore({ dataDir, log: silentLogger });
    t.equal(second.get('model', 'a'), 'b');
    t.equal(second.get('threshold', null), 0.4);
    t.same(
      second.get('labels', []),
      ['Dog', { name: 'Alarm', labels: ['Siren'] }, everything],
      'as it was when it was set',
    );
    t.same(second.get('thresholds', {}), { 'Bee, wasp, etc.': 0.2 });
    t.equal(second.get('paused', false), true);
    t.equal(second.get('audio_device', ''), 2);
    await second.clear('model');
    const third = await openStateStore({ dataDir, log: silentLogger });
    t.equal(third.get('model', 'a'), undefined);
    t.equal(third.get('paused', false), true);
    t.same(readdirSync(dataDir), ['state.json'], 'nothing temporary is left');
  });

  t.test('a configuration that has changed since is the newer wish', async (t) => {
    const dataDir = temporaryFolder(t);
    const first = await openStateStore({ dataDir, log: silentLogger });
    await first.set('rate_hz', 0.5, 1);
    const log = recordingLogger();
    const second = await openStateStore({ dataDir, log });
    t.equal(second.get('rate_hz', 2), undefined);
    t.match(log.records, [{ level: 'info', message: /rate_hz has changed/ }]);
    t.equal(second.get('rate_hz', 1), undefined, 'it is forgotten for good');
    await second.flush();
    const third = await openStateStore({ dataDir, log: silentLogger });
    t.equal(third.get('rate_hz', 1), undefined);
  });

  t.test('a model that is no longer part of the program', async (t) => {
    const write = (dataDir: string, value: string, configured: string) =>
      writeFileSync(
        join(dataDir, 'state.json'),
        JSON.stringify({ version: 1, values: { model: { value, configured } } }),
      );
    const cases: [value: string, configured: string, today: string, is: string | undefined, lines: number][] =
      [
        ['soundpost-mini', 'mn04_as', 'mn04_as', 'soundpost-home', 1],
        ['soundpost-mini', 'soundpost-mini', 'soundpost-home', 'soundpost-home', 1],
        // Nobody has changed the configuration: its default has another name.
        ['mn10_as', 'soundpost-mini', 'soundpost-home', 'mn10_as', 0],
        ['mn10_as', 'mn04_as', 'mn04_as', 'mn10_as', 0],
      ];
    for (const [value, configured, today, is, lines] of cases) {
      const dataDir = temporaryFolder(t);
      write(dataDir, value, configured);
      for (const expected of [lines, 0]) {
        const log = recordingLogger();
        const store = await openStateStore({ dataDir, log });
        t.equal(store.get('model', today), is);
        t.equal(log.records.length, expected, 'said once, then it is on the disk');
        for (const { message } of log.records) t.match(message, /soundpost-mini.*soundpost-home/);
        await store.flush();
      }
    }
  });

  t.test('each source has its own, and the one source of before has what it had', async (t) => {
    const dataDir = temporaryFolder(t);
    const path = join(dataDir, 'state.json');
    const former = {
      version: 1,
      values: {
        model: { value: 'mn04_as', configured: 'soundpost-home' },
        threshold: { value: 0.4, configured: null },
        paused: { value: true, configured: false },
      },
    };
    writeFileSync(path, JSON.stringify(former));
    const first = await openStateStore({ dataDir, log: silentLogger });
    t.equal(first.of(null).get('threshold', null), 0.4, 'a file of before');
    t.equal(first.of('yard').get('threshold', null), undefined);
    const group = { name: 'Alarm', labels: ['Siren'] };
    t.equal(await first.of('yard').set('threshold', 0.2, null), true);
    await first.of('yard').set('labels', ['Dog', group], []);
    await first.of('street').set('audio_device', 'USB', '');
    await first.of(null).set('paused', false, false);
    t.equal(first.get('paused', false), false, 'null is the root');
    const { sources, values } = JSON.parse(readFileSync(path, 'utf8')) as Record<string, object>;
    t.strictSame(sources, {
      yard: {
        threshold: { value: 0.2, configured: null },
        labels: { value: ['Dog', group], configured: [] },
      },
      street: { audio_device: { value: 'USB', configured: '' } },
    });
    t.same(Object.keys(values!).sort(), ['model', 'paused', 'threshold'], 'what is beside it is as it was');

    const second = await openStateStore({ dataDir, log: silentLogger });
    const yard = second.of('yard');
    t.equal(second.of('yard'), yard);
    t.equal(yard.get('threshold', null), 0.2);
    t.same(yard.get('labels', []), ['Dog', group]);
    t.equal(second.of('street').get('audio_device', ''), 'USB');
    t.equal(second.of('attic').get('audio_device', ''), undefined);
    t.equal(second.get('model', 'soundpost-home'), 'mn04_as');
    await yard.clear('threshold');
    await yard.clear('labels');
    await second.of('street').clear('audio_device');
    t.notOk('sources' in (JSON.parse(readFileSync(path, 'utf8')) as object), 'nothing is left of them');
  });

  t.test('the configuration of a source that has changed since is the newer wish', async (t) => {
    const dataDir = temporaryFolder(t);
    const log = recordingLogger();
    const store = await openStateStore({ dataDir, log });
    await store.of('yard').set('threshold', 0.2, 0.5);
    await store.of('street').set('threshold', 0.2, 0.5);
    await store.set('threshold', 0.2, 0.5);
    t.equal(store.of('yard').get('threshold', 0.6), undefined);
    t.match(log.records, [{ level: 'info', message: /threshold of the source yard has changed/ }]);
    t.equal(store.of('street').get('threshold', 0.5), 0.2);
    t.equal(store.get('threshold', 0.5), 0.2);
  });

  t.test('sources that are gone are remembered, and not without end', async (t) => {
    const dataDir = temporaryFolder(t);
    const first = await openStateStore({ dataDir, log: silentLogger });
    await Promise.all(
      Array.from({ length: 64 }, (_, n) => first.of(`gone-${n}`).set('threshold', n / 100, null)),
    );
    const second = await openStateStore({ dataDir, log: silentLogger });
    t.equal(second.of('gone-0').get('threshold', null), 0, 'one that has come back');
    await Promise.all(
      Array.from({ length: 10 }, (_, n) => second.of(`new-${n}`).set('threshold', 0.5, null)),
    );
    const third = await openStateStore({ dataDir, log: silentLogger });
    const isKnown = (name: string) => third.of(name).get('threshold', null) !== undefined;
    t.same(
      ['gone-0', 'gone-10', 'gone-11', 'gone-63', 'new-0', 'new-9'].filter(isKnown),
      ['gone-0', 'gone-11', 'gone-63', 'new-0', 'new-9'],
      'those that were set first go first, and none that is there',
    );
  });

  t.test('names that are none of a source are left out, and take nothing with them', async (t) => {
    const dataDir = temporaryFolder(t);
    const of = (name: string) => `${JSON.stringify(name)}:{"paused":{"value":true,"configured":false}}`;
    const sources = ['__proto__', 'A b', 'yard', 'constructor'].map(of).join(',');
    writeFileSync(join(dataDir, 'state.json'), `{"version":1,"values":{},"sources":{${sources}}}`);
    const store = await openStateStore({ dataDir, log: silentLogger });
    for (const name of ['yard', 'constructor']) t.equal(store.of(name).get('paused', false), true);
    t.equal(store.of('A b').get('paused', false), undefined);
    t.equal(store.of('__proto__').get('paused', false), undefined);
  });

  t.test('many changes at once: the last one is what is on the disk', async (t) => {
    const dataDir = temporaryFolder(t);
    const store = await openStateStore({ dataDir, log: silentLogger });
    await Promise.all(Array.from({ length: 50 }, (_, index) => store.set('rate_hz', 1 + index / 10, 1)));
    const again = await openStateStore({ dataDir, log: silentLogger });
    t.equal(again.get('rate_hz', 1), 5.9);
  });

  t.test('a broken file is set aside', async (t) => {
    const broken = [
      '',
      '{',
      'null',
      '{"version":2,"values":{}}',
      '{"version":1,"values":{"rate_hz":{"value":"fast","configured":1}}}',
      '{"version":1,"values":{"rate_hz":{"value":1e9,"configured":1}}}',
      '{"version":1,"values":{},"sources":[]}',
      '{"version":1,"values":{},"sources":{"yard":{"threshold":{"value":7,"configured":null}}}}',
    ];
    for (const content of broken) {
      const dataDir = temporaryFolder(t);
      writeFileSync(join(dataDir, 'state.json'), content);
      const log = recordingLogger();
      const store = await openStateStore({ dataDir, log });
      t.equal(store.get('rate_hz', 1), undefined);
      t.match(log.records, [
        { level: 'warn', code: 'state_broken', message: /was set aside as .*state\.json\.broken-/ },
      ]);
      const [aside] = readdirSync(dataDir);
      t.match(aside, /^state\.json\.broken-/);
      t.equal(readFileSync(join(dataDir, aside!), 'utf8'), content);
      await store.set('rate_hz', 2, 1);
      t.equal((await openStateStore({ dataDir, log: silentLogger })).get('rate_hz', 1), 2);
    }
  });

  t.test('whatever stands in the file, it opens', async (t) => {
    const dataDir = temporaryFolder(t);
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(
          fc.string(),
          fc.json(),
          fc.json().map((v) => `{"version":1,"values":${v}}`),
          fc.json().map((v) => `{"version":1,"values":{},"sources":{"yard":${v}}}`),
        ),
        async (text) => {
          writeFileSync(join(dataDir, 'state.json'), text);
          const store = await openStateStore({ dataDir, log: silentLogger });
          store.get('labels', []);
          store.of('yard').get('labels', []);
          await store.flush();
        },
      ),
    );
  });

  t.test('where it cannot be written, it warns once and goes on in memory', async (t) => {
    const folder = temporaryFolder(t);
    const dataDir = join(folder, 'data');
    writeFileSync(dataDir, 'a file where the folder should be');
    const log = recordingLogger();
    const store = await openStateStore({ dataDir, log });
    await store.set('rate_hz', 2, 1);
    await store.set('rate_hz', 3, 1);
    t.equal(store.get('rate_hz', 1), 3);
    t.match(log.records, [{ level: 'warn', code: 'state_not_saved', message: /until the next restart/ }]);
    t.equal(log.records.length, 1);
    rmSync(dataDir);
    await store.set('rate_hz', 4, 1);
    t.match(log.records[1], { level: 'info', message: /can be written again/ });
    t.equal((await openStateStore({ dataDir, log: silentLogger })).get('rate_hz', 1), 4);
  });
  t.end();
});

t.test('a file is replaced as a whole or not at all', async (t) => {
  const folder = temporaryFolder(t);
  const path = join(folder, 'sub', 'x');
  await writeFileAtomic(path, 'one');
  await writeFileAtomic(path, 'two', { durable: false });
  t.equal(readFileSync(path, 'utf8'), 'two');
  const occupied = join(folder, 'occupied');
  mkdirSync(join(occupied, 'inner'), { recursive: true });
  await t.rejects(writeFileAtomic(occupied, 'three'));
  t.same(readdirSync(folder).sort(), ['occupied', 'sub'], 'nothing temporary is left');
});

t.test('health', (t) => {
  const checks = [{ name: 'mqtt', ok: true, detail: 'Connected.' }];
  const start = Date.parse('2026-01-01T00:00:00Z');

  t.test('a heartbeat, its age and its process', async (t) => {
    const dataDir = temporaryFolder(t);
    t.match(readHeartbeat(dataDir, start), {
      healthy: false,
      age: null,
      checks: [{ name: 'service', ok: false, detail: /No service is running/ }],
    });
    const file = createHealthFile({ dataDir, now: () => start });
    await file.write({ healthy: true, checks });
    t.match(readHeartbeat(dataDir, start + 10_000), {
      healthy: true,
      age: 10,
      checks: [{ ok: true }, checks[0]],
    });
    t.match(readHeartbeat(dataDir, start + 30_000), { healthy: true });
    t.match(readHeartbeat(dataDir, start + 31_000), {
      healthy: false,
      checks: [{ detail: /31 s old.*hangs/ }],
    });
    t.match(readHeartbeat(dataDir, start - 60_000), {
      healthy: false,
      checks: [{ detail: /in the future/ }],
    });
    await file.write({ healthy: false, checks: [{ name: 'mqtt', ok: false, detail: 'No.' }] });
    t.match(readHeartbeat(dataDir, start), { healthy: false, checks: [{ ok: true }, { ok: false }] });
    for (const content of ['', '{}', 'x', '{"ts":"yesterday"}']) {
      writeFileSync(join(dataDir, 'run', 'health.json'), content);
      t.match(readHeartbeat(dataDir, start), {
        healthy: false,
        checks: [{ detail: /not what the service writes/ }],
      });
    }
    await file.remove();
    t.notOk(existsSync(join(dataDir, 'run', 'health.json')));
    await file.remove();
  });

  t.test('a process that is gone', async (t) => {
    const dataDir = temporaryFolder(t);
    const child = spawn(process.execPath, ['-e', '']);
    await once(child, 'exit');
    await createHealthFile({ dataDir, pid: child.pid!, now: () => start }).write({ healthy: true, checks });
    t.match(readHeartbeat(dataDir, start), { healthy: false, checks: [{ ok: false, detail: /is gone/ }] });
  });

  t.test('what a service says itself', async (t) => {
    const dataDir = temporaryFolder(t);
    let now = { healthy: true, checks };
    const close = await serveHealth(dataDir, () => now);
    // The heartbeat says otherwise: nobody reads it where the service can be asked.
    await createHealthFile({ dataDir, now: () => start - 3_600_000 }).write({ healthy: false, checks: [] });
    const answered = { name: 'service', ok: true, detail: `Process ${process.pid} answers.` };
    t.strictSame(await readHealth(dataDir, start), {
      healthy: true,
      age: 0,
      checks: [answered, ...checks],
    });
    now = { healthy: false, checks: [{ name: 'mqtt', ok: false, detail: 'No.' }] };
    t.match(await readHealth(dataDir, start), { healthy: false, checks: [{ ok: true }, { ok: false }] });
    await close();
    t.match(await readHealth(dataDir, start), { healthy: false, checks: [{ detail: /3600 s old/ }] });
    // The socket of a service that was killed is still there, and nobody listens.
    const killed = spawn(process.execPath, [
      '-e',
      `require('net').createServer().listen(${JSON.stringify(join(dataDir, 'run', 'health.sock'))}, () => process.kill(process.pid, 'SIGKILL'))`,
    ]);
    await once(killed, 'exit');
    t.ok(existsSync(join(dataDir, 'run', 'health.sock')));
    t.match(await readHealth(dataDir, start), { healthy: false, checks: [{ detail: /3600 s old/ }] });
    await (
      await serveHealth(dataDir, () => now)
    )();
    t.strictSame(readdirSync(join(dataDir, 'run')), ['health.json']);
  });

  t.test('somebody at its socket who says nothing, or something else', async (t) => {
    const dataDir = temporaryFolder(t);
    mkdirSync(join(dataDir, 'run'));
    let say: (client: Socket) => void = () => undefined;
    const server = createServer((client) => {
      client.on('error', () => undefined);
      say(client);
    });
    server.listen(join(dataDir, 'run', 'health.sock'));
    await once(server, 'listening');
    t.teardown(() => server.close());
    const detail = async () => (await readHealth(dataDir, start, { answerMs: 200 })).checks[0]?.detail;
    t.match(await detail(), /no answer within 0.2 s: it hangs/);
    say = (client) => client.destroy();
    t.match(await detail(), /no file handles left/);
    say = (client) => client.end('GET /');
    t.match(await detail(), /not the service/);
    say = (client) => client.end('x'.repeat(1_000_000));
    t.type(await detail(), 'string', 'and not without end');
    t.match(
      await readHealth(join(dataDir, 'x'.repeat(120)), start),
      { checks: [{ detail: /No service is running/ }] },
      'a path that is too long for a socket',
    );
  });

  t.test('soundpost health', async (t) => {
    const dataDir = temporaryFolder(t);
    const run = async (json: boolean): Promise<{ code: number; output: string }> => {
      let output = '';
      const stdout = { write: (text: string) => (output += text) };
      const code = await healthCommand({ env: {}, flags: { data_dir: dataDir }, json, stdout }, start);
      return { code, output };
    };
    t.match(await run(false), { code: 1, output: /^FAIL {2}service {2}No service[^]*unhealthy\n$/ });
    await createHealthFile({ dataDir, now: () => start }).write({ healthy: true, checks });
    t.match(await run(false), { code: 0, output: /\nok {4}mqtt {5}Connected\.\nhealthy\n$/ });
    const { code, output } = await run(true);
    t.equal(code, 0);
    t.match(JSON.parse(output), { healthy: true, age: 0, checks: [{ name: 'service' }, { name: 'mqtt' }] });
  });
  t.end();
});

t.test('the logger', (t) => {
  const capture = (options: Partial<LoggerOptions>): { log: Logger; text: () => string } => {
    let text = '';
    const stream = new Writable({
      write(chunk: Buffer, _encoding, done) {
        text += chunk.toString();
        done();
      },
    });
    return { log: createLogger({ level: 'info', format: 'auto', stream, ...options }), text: () => text };
  };

  t.test('JSON lines off a terminal, lines for people on request', (t) => {
    const json = capture({ now: () => Date.parse('2026-01-01T00:00:00Z') });
    json.log.debug({}, 'not this');
    json.log.info({ a: 1 }, 'hello');
    t.same(JSON.parse(json.text()), {
      level: 'info',
      ts: '2026-01-01T00:00:00.000Z',
      a: 1,
      message: 'hello',
    });
    const people = capture({ format: 'pretty' });
    people.log.warn({ code: 'x' }, 'hello');
    t.match(people.text(), /^\[\d\d:\d\d:\d\d\.\d{3}\] WARN: hello\n {4}code: "x"\n$/);
    t.end();
  });

  t.test('secrets, by the name of their field and by what they are', (t) => {
    for (const format of ['json', 'pretty'] as const) {
      const { log, text } = capture({ format, secrets: ['hush"hush', 'ab'] });
      const circle: Record<string, unknown> = { inner: 'hush"hush' };
      circle['self'] = circle;
      log.info({ password: 'other', mqtt: { password: 'other' } }, 'fields');
      log.error(
        {
          err: new Error('no hush"hush'),
          list: [{ x: 'hush"hush' }],
          circle,
          url: new URL('mqtt://a:hush@b'),
        },
        'with hush"hush about',
      );
      t.notMatch(text(), 'other');
      t.notMatch(text(), /hush\\*"hush/);
      t.match(text(), 'with *** about');
      t.match(text(), 'about', 'what is too short to be a secret stays');
    }
    const hide = redactor(['hush', 'hush hush']);
    t.equal(hide('a hush hush b hush'), 'a *** b ***');
    t.end();
  });

  t.test('warnings and errors are reported, repeats are not', (t) => {
    let now = 0;
    const problems: Problem[] = [];
    const { log } = capture({
      now: () => now,
      secrets: ['hush'],
      onProblem: (problem) => {
        problems.push(problem);
        log.warn({ code: 'nested' }, 'a warning while one is reported');
        if (problem.code === 'bad') throw new Error('no broker');
      },
    });
    log.info({}, 'not this');
    log.warn({ code: 'c' }, 'w hush');
    now = 59_999;
    log.warn({ code: 'c' }, 'w hush');
    log.warn({ code: 'c' }, 'w hush');
    log.warn({ code: 'c' }, 'another');
    now = 60_000;
    log.warn({ code: 'c' }, 'w hush');
    log.error({}, 'e');
    log.error({ code: 'bad' }, 'what the reporter throws harms nobody');
    t.same(problems.slice(0, 4), [
      { ts: '1970-01-01T00:00:00.000Z', level: 'warn', message: 'w ***', code: 'c' },
      { ts: '1970-01-01T00:00:59.999Z', level: 'warn', message: 'another', code: 'c' },
      { ts: '1970-01-01T00:01:00.000Z', level: 'warn', message: 'w ***', code: 'c', repeats: 2 },
      { ts: '1970-01-01T00:01:00.000Z', level: 'error', message: 'e', code: 'internal' },
    ]);
    t.equal(problems.length, 5);
    t.end();
  });

  t.test('suppression: at most one in the interval, every other is counted, memory is bounded', (t) => {
    const steps = fc.array(fc.tuple(fc.constantFrom('a', 'b', 'c'), fc.nat(40_000)), { maxLength: 60 });
    fc.assert(
      fc.property(steps, (offers) => {
        const suppressor = createSuppressor();
        const last = new Map<string, number>();
        const held = new Map<string, number>();
        let now = 0;
        for (const [key, delay] of offers) {
          now += delay;
          const verdict = suppressor.offer(key, now);
          const due = now - (last.get(key) ?? -Infinity) >= 60_000;
          if (verdict.pass !== due) return false;
          if (verdict.pass) {
            if (verdict.repeats !== (held.get(key) ?? 0)) return false;
            last.set(key, now);
            held.set(key, 0);
          } else held.set(key, (held.get(key) ?? 0) + 1);
        }
        return true;
      }),
    );
    const small = createSuppressor({ capacity: 2 });
    for (const key of ['a', 'b', 'c']) t.same(small.offer(key, 0), { pass: true, repeats: 0 });
    t.same(small.offer('c', 1), { pass: false });
    t.same(small.offer('a', 1), { pass: true, repeats: 0 }, 'the oldest was forgotten');
    const back = createSuppressor();
    back.offer('a', 1e9);
    t.match(back.offer('a', 0), { pass: true }, 'a clock that was set back silences nothing');
    t.end();
  });
  t.end();
});
