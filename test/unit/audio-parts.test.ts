import fc from 'fast-check';
import t from 'tap';
import { parseStreamAddress } from '../../src/audio/address.js';
import { createLevelMeter, levelOf, LEVEL_FLOOR_DBFS } from '../../src/audio/level.js';
import { createPlaybackClock } from '../../src/audio/playback-clock.js';
import {
  createStreamResampler,
  resampleWhole,
  type ResampleQuality,
  type StreamResampler,
} from '../../src/audio/resample.js';
import { createRing } from '../../src/audio/ring.js';
import { chunkSecondsFor } from '../../src/audio/source.js';
import { SoundpostError } from '../../src/common/errors.js';
import { sine } from '../support/wav.js';

t.test('ring', (t) => {
  t.test('keeps what a plain list keeps, whatever is appended, read and resized', (t) => {
    const operation = fc.oneof(
      { weight: 5, arbitrary: fc.record({ append: fc.nat(40) }) },
      { weight: 1, arbitrary: fc.record({ resize: fc.integer({ min: 1, max: 40 }) }) },
    );
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 30 }), fc.array(operation), (capacity, operations) => {
        const ring = createRing(capacity);
        let kept = capacity;
        let all: number[] = [];
        let oldest = 0;
        for (const operation of operations) {
          if ('append' in operation) {
            // The value of each sample is its position.
            const next = Float32Array.from({ length: operation.append }, (_, i) => all.length + i);
            ring.append(next);
            all = [...all, ...next];
          } else {
            ring.resize(operation.resize);
            kept = operation.resize;
          }
          oldest = Math.max(oldest, all.length - kept);
          if (ring.position !== all.length || ring.oldest !== oldest || ring.capacity !== kept) return false;
          const out = new Float32Array(all.length - oldest);
          ring.read(oldest, all.length, out);
          if (!out.every((value, i) => value === all[oldest + i])) return false;
        }
        return true;
      }),
    );

    t.end();
  });

  t.test('reads any part', (t) => {
    fc.assert(
      fc.property(fc.nat(100), fc.nat(20), fc.nat(20), (total, a, b) => {
        const ring = createRing(20);
        for (let i = 0; i < total; i += 1) ring.append(Float32Array.of(i));
        const from = Math.min(ring.position, ring.oldest + Math.min(a, b));
        const to = Math.min(ring.position, ring.oldest + Math.max(a, b));
        const out = new Float32Array(20).fill(-1);
        ring.read(from, to, out);
        return out.every((value, i) => value === (i < to - from ? from + i : -1));
      }),
    );

    t.end();
  });

  t.test('refuses what it does not keep', (t) => {
    const ring = createRing(4);
    ring.append(new Float32Array(6));
    const out = new Float32Array(8);
    t.throws(() => ring.read(1, 3, out), RangeError, 'gone');
    t.throws(() => ring.read(4, 7, out), RangeError, 'not there yet');
    t.throws(() => ring.read(5, 4, out), RangeError, 'backwards');
    t.throws(() => ring.read(2.5, 4, out), RangeError, 'between samples');
    t.throws(() => ring.read(2, 6, new Float32Array(3)), RangeError, 'no room');
    for (const capacity of [0, -1, 1.5, NaN]) t.throws(() => createRing(capacity), RangeError);
    t.throws(() => ring.resize(0), RangeError);

    t.end();
  });

  t.end();
});

t.test('level', (t) => {
  const almost = (t: { ok(value: boolean, message: string): void }, is: number, wanted: number) =>
    t.ok(Math.abs(is - wanted) < 0.01, `${is}`);
  const full = levelOf(Float32Array.from(sine(48_000, 1000, 48_000, 1)));
  almost(t, full.dbfs, -3.01);
  almost(t, full.peakDbfs, 0);
  almost(t, levelOf(new Float32Array(100).fill(-0.1)).dbfs, -20);
  t.same(levelOf(new Float32Array(100)), { dbfs: LEVEL_FLOOR_DBFS, peakDbfs: LEVEL_FLOOR_DBFS }, 'silence');
  t.same(levelOf(new Float32Array(0)), { dbfs: LEVEL_FLOOR_DBFS, peakDbfs: LEVEL_FLOOR_DBFS });
  t.ok(Number.isFinite(levelOf(Float32Array.of(NaN, Infinity, 0.5)).dbfs), 'what is no number is no level');

  const meter = createLevelMeter();
  t.equal(meter.take(), null, 'nothing yet');
  meter.add(new Float32Array(100).fill(1));
  meter.add(new Float32Array(300));
  almost(t, meter.take()!.dbfs, -6.02);
  t.equal(meter.take(), null, 'each period by itself');

  t.end();
});

t.test('the clock of playback', (t) => {
  t.test('counts from the start, whatever the delays', (t) => {
    const clock = createPlaybackClock({ mostBehindMs: 500 });
    let now = 1000;
    for (let i = 1; i <= 1000; i += 1) {
      const due = clock.dueMs(0.1, now);
      t.ok(Math.abs(due - (1000 + i * 100)) < 1e-6, `${due}`);
      now = due + (i % 7) * 20;
    }

    t.end();
  });
  t.test('catches up with a little after a long pause, and no more', (t) => {
    const clock = createPlaybackClock({ mostBehindMs: 500 });
    clock.dueMs(0.1, 0);
    const dues = Array.from({ length: 6 }, () => clock.dueMs(0.1, 60_000));
    t.same(dues, [59_600, 59_700, 59_800, 59_900, 60_000, 60_100]);

    t.end();
  });
  t.test('lets sound pass a little faster than it sounds', (t) => {
    const clock = createPlaybackClock({ mostBehindMs: 500, speed: 2 });
    t.same([clock.dueMs(0.1, 0), clock.dueMs(0.1, 0)], [50, 100]);

    t.end();
  });

  t.end();
});

t.test('resample', (t) => {
  const QUALITIES: ResampleQuality[] = ['fast', 'live', 'best'];
  const RATES: [number, number][] = [
    [48_000, 32_000],
    [44_100, 32_000],
    [96_000, 32_000],
    [16_000, 32_000],
    [48_000, 8_000],
    [8_000, 16_000],
    [22_050, 16_000],
  ];
  /** RMS in dB against a full-scale sine, of the middle. */
  const decibels = (samples: Float32Array, expected?: (i: number) => number) => {
    const margin = 2000;
    let sum = 0;
    for (let i = margin; i < samples.length - margin; i += 1) {
      sum += (samples[i]! - (expected?.(i) ?? 0)) ** 2;
    }
    return 10 * Math.log10((2 * sum) / (samples.length - 2 * margin));
  };
  const run = (resampler: StreamResampler, samples: Float32Array, chunkSizes: () => number) => {
    const parts: number[] = [];
    for (let at = 0; at < samples.length;) {
      const size = chunkSizes();
      parts.push(...resampler.process(samples.subarray(at, at + size)));
      at += size;
    }
    return Float32Array.from(parts);
  };
  const tone = (frequency: number, rate: number) => Float32Array.from(sine(rate, frequency, rate, 1));

  for (const [from, to] of RATES) {
    t.test(`${from} to ${to} Hz`, async (t) => {
      const limit = Math.min(from, to) / 2;
      for (const quality of QUALITIES) {
        for (const frequency of [0.05 * limit, 0.5 * limit, 0.8 * limit]) {
          const y = run(await createStreamResampler(from, to, quality), tone(frequency, from), () => 4800);
          const at = (i: number) => Math.sin((2 * Math.PI * frequency * i) / to);
          t.ok(Math.abs(decibels(y)) < 0.05, `${quality}: ${frequency} Hz keeps its amplitude`);
          t.ok(
            decibels(y, at) < -45,
            `${quality}: ${frequency} Hz comes without delay: ${decibels(y, at)} dB`,
          );
        }
        if (from > to) {
          for (const frequency of [1.1 * limit, 0.97 * (from / 2)].filter((f) => f < from / 2)) {
            const y = run(await createStreamResampler(from, to, quality), tone(frequency, from), () => 4800);
            t.ok(decibels(y) < -95, `${quality}: ${frequency} Hz leaves no alias: ${decibels(y)} dB`);
          }
        }
      }
      const whole = await resampleWhole(tone(0.5 * limit, from), from, to);
      t.equal(whole.length, to);
      const at = (i: number) => Math.sin((2 * Math.PI * 0.5 * limit * i) / to);
      t.ok(decibels(whole, at) < -100, `best is exact: ${decibels(whole, at)} dB`);
    });
  }

  t.test('what passes where the front ends still look', async (t) => {
    for (const [quality, frequency, most] of [
      ['live', 14_800, 0.15],
      ['best', 15_000, 0.1],
      ['fast', 13_900, 0.25],
    ] as const) {
      const y = run(
        await createStreamResampler(48_000, 32_000, quality),
        tone(frequency, 48_000),
        () => 4800,
      );
      t.ok(Math.abs(decibels(y)) < most, `${quality} ${frequency} Hz: ${decibels(y)} dB`);
    }
  });

  t.test('chunks of any size give the whole', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...RATES),
        fc.array(fc.integer({ min: 1, max: 20_000 }), { minLength: 1, maxLength: 5 }),
        fc.integer({ min: 0, max: 30_000 }),
        fc.integer(),
        async ([from, to], sizes, length, seed) => {
          let state = seed >>> 0;
          const noise = Float32Array.from({ length }, () => {
            state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
            return state / 2 ** 31 - 1;
          });
          let i = 0;
          const resampler = await createStreamResampler(from, to, 'best');
          const pieces = run(resampler, noise, () => sizes[i++ % sizes.length]!);
          const whole = await resampleWhole(noise, from, to);
          const tail = Math.ceil(256 * Math.max(to / from, 1));
          return (
            whole.length === Math.round((length * to) / from) &&
            pieces.length <= whole.length + 1 &&
            pieces.length >= whole.length - tail &&
            pieces.every((value, k) => k >= whole.length || value === whole[k])
          );
        },
      ),
      { numRuns: 15 },
    );
  });

  t.test('the same with and without SIMD', async (t) => {
    const noise = Float32Array.from({ length: 20_000 }, (_, i) => ((i * 7919) % 1000) / 500 - 1);
    const simd = run(await createStreamResampler(48_000, 32_000, 'live'), noise, () => 4800);
    const plain = run(
      await createStreamResampler(48_000, 32_000, 'live', { simd: false }),
      noise,
      () => 4800,
    );
    t.equal(simd.length, plain.length);
    t.ok(simd.every((value, i) => Math.abs(value - plain[i]!) < 1e-5));
  });

  t.test('equal rates cost nothing', async (t) => {
    const samples = Float32Array.of(1, 2, 3);
    t.equal((await createStreamResampler(32_000, 32_000, 'live')).process(samples), samples);
    t.equal(await resampleWhole(samples, 32_000, 32_000), samples);
  });

  t.test('refuses rates that are none', async (t) => {
    for (const rate of [0, -1, 44_100.5, NaN, 2e6]) {
      await t.rejects(createStreamResampler(rate, 32_000, 'live'), { code: 'bad_sample_rate' });
    }
  });

  t.end();
});

t.test('address', (t) => {
  t.test('takes streams and files', (t) => {
    for (const address of [
      'http://radio.local/live',
      'https://radio.local:8443/live.m3u8?x=1',
      'rtsp://camera.local:554/stream1',
      'rtmp://host/app/key',
      'tcp://127.0.0.1:5000',
      'udp://@:5004',
      'udp://239.0.0.1:5004?fifo_size=1000',
      'srt://host:9000?mode=caller',
      'HTTP://RADIO.LOCAL/',
    ]) {
      const parsed = parseStreamAddress(address);
      t.equal(parsed.url, address);
      t.notOk(parsed.protocols.split(',').some((name) => ['file', 'concat', 'pipe', 'data'].includes(name)));
    }
    t.match(parseStreamAddress('sounds/a b.flac').url, /^file:\/.*\/sounds\/a b\.flac$/);
    t.equal(parseStreamAddress('/x.flac').protocols, 'file');
    t.equal(parseStreamAddress('./a:b.wav').protocols, 'file');
    t.match(parseStreamAddress('subfile,,start,0,end,9,,:/x').url, /^file:\//, 'no more than an odd name');
    t.match(parseStreamAddress('-i').url, /^file:\/.*-i$/, 'never an option');

    t.end();
  });

  t.test('refuses everything else', (t) => {
    for (const address of [
      '',
      '  ',
      'concat:a|b',
      'file:/etc/passwd',
      'file:///etc/passwd',
      'subfile:/etc/passwd',
      'pipe:0',
      'data:audio/wav;base64,AAAA',
      'crypto:x',
      'crypto+http://x/',
      'async:http://x/',
      'cache:http://x/',
      'tee:a',
      'gopher://x/',
      'http:x',
      'http://',
      'http://a b:x/',
      'http://x/\nb',
    ]) {
      t.throws(() => parseStreamAddress(address), { code: 'bad_address' }, address);
    }

    t.end();
  });

  t.test('shows no secrets', (t) => {
    const address = parseStreamAddress(
      'rtsp://admin:p%40ssw0rd@camera.local:554/live?token=abcdef&channel=1',
    );
    t.equal(address.shown, 'rtsp://camera.local:554/live?***');
    const said = address.clean(
      'rtsp://admin:p%40ssw0rd@camera.local:554/live?token=abcdef: 401; p@ssw0rd wrong, abcdef wrong, see https://u:v@w/x?y=z',
    );
    t.notMatch(said, /p@ssw0rd|p%40ssw0rd|abcdef|u:v|y=z/);
    t.match(said, /401.*wrong.*https:\/\/w\/x/);
    t.equal(parseStreamAddress('rtmp://host/app/stream-key').shown, 'rtmp://host/app/***');

    t.end();
  });

  t.test('whatever the password, it is not shown', (t) => {
    const text = fc.string({
      unit: fc.constantFrom(...Array.from("abcXYZ019-_.!~*'()@:/?#% é")),
      minLength: 4,
      maxLength: 20,
    });
    fc.assert(
      fc.property(text, text, (user, password) => {
        const written = encodeURIComponent(password);
        const address = parseStreamAddress(`http://${encodeURIComponent(user)}:${written}@radio.local/live`);
        const shown = [address.shown, address.clean(`${address.url}: refused for ${password} (${written})`)];
        return shown.every((line) => !line.includes(password) && !line.includes(written));
      }),
    );

    t.end();
  });

  t.test('an error holds no secrets', (t) => {
    try {
      parseStreamAddress('http://user:secret@bad host/');
      t.fail('should have thrown');
    } catch (error) {
      t.ok(error instanceof SoundpostError);
      t.notMatch(String(error), /secret/);
    }

    t.end();
  });

  t.end();
});

t.test('a chunk is a fifth of a hop, within bounds', (t) => {
  t.same([0.01, 1, 2, 4, 20].map(chunkSecondsFor), [0.2, 0.2, 0.1, 0.05, 0.05]);
  t.end();
});
