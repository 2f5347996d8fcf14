import fc from 'fast-check';
import { PassThrough } from 'node:stream';
import t from 'tap';
import { createChatter } from '../../src/audio/capture/chatter.js';
import { createSampleReader } from '../../src/audio/capture/samples.js';
import { channelsToOpen, findDevice, mixToMono, type InputDevice } from '../../src/audio/capture/select.js';
import { createLiveness } from '../../src/audio/liveness.js';
import type { AudioStatus } from '../../src/audio/source.js';
import { SoundpostError } from '../../src/common/errors.js';

t.test('samples come out of a pipe as they went in, wherever it splits, but for what is no number', (t) => {
  fc.assert(
    fc.property(
      fc.float32Array({ maxLength: 40 }),
      fc.array(fc.tuple(fc.nat(13), fc.nat(5))),
      fc.uint8Array({ maxLength: 3 }),
      (samples, pieces, tail) => {
        const bytes = Buffer.concat([new Uint8Array(samples.buffer.slice(0)), tail]);
        const got: number[] = [];
        let unusable = 0;
        const read = createSampleReader((part, silenced) => {
          got.push(...part);
          unusable += silenced;
        });
        let at = 0;
        for (const [length, shift] of [...pieces, [bytes.length, 1] as const]) {
          // Each piece lies at its own offset in a buffer of its own, as in a pool.
          const piece = bytes.subarray(at, at + length);
          const place = new Uint8Array(piece.length + shift);
          place.set(piece, shift);
          read(place.subarray(shift));
          at += piece.length;
        }
        const usable = (value: number) => Math.abs(value) <= 1e6;
        const expected = Array.from(samples, (value) => (usable(value) ? value : 0));
        return (
          unusable === samples.filter((value) => !usable(value)).length &&
          got.length === samples.length &&
          got.every((value, i) => Object.is(value, expected[i]))
        );
      },
    ),
  );
  t.end();
});

t.test('aligned bytes are not copied', (t) => {
  const bytes = new Uint8Array(Float32Array.of(1, 2, 3).buffer);
  let buffer: ArrayBufferLike | undefined;
  createSampleReader((samples) => {
    buffer = samples.buffer;
  })(bytes);
  t.equal(buffer, bytes.buffer);
  t.end();
});

t.test('liveness is the same however the samples are cut, and follows its definition', (t) => {
  const rate = 4;
  const silenceSeconds = 2;
  const value = fc.constantFrom(0, -0, 0.5, NaN);
  const stretch = fc.tuple(value, fc.integer({ min: 1, max: 12 }));
  fc.assert(
    fc.property(
      fc.array(stretch, { maxLength: 12 }),
      fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1 }),
      (stretches, cuts) => {
        const samples = Float32Array.from(
          stretches.flatMap(([v, count]) => Array.from({ length: count }, () => v)),
        );
        const liveness = createLiveness({ silenceSeconds });
        liveness.begin(rate);
        let expected: AudioStatus['state'] | undefined;
        let reported: AudioStatus | undefined;
        for (let at = 0, cut = 0; at < samples.length; cut += 1) {
          const end = Math.min(samples.length, at + cuts[cut % cuts.length]!);
          const change = liveness.chunk(samples.subarray(at, end));
          // The definition, over all samples so far.
          const differs = (i: number) =>
            i > 0 && samples[i] !== samples[i - 1] && !(isNaN(samples[i]!) && isNaN(samples[i - 1]!));
          let run = 1;
          while (run < end && !differs(end - run)) run += 1;
          let varies = false;
          for (let i = at; i < end; i += 1) varies ||= differs(i);
          if (run >= rate * silenceSeconds) expected = 'offline';
          else if (varies) expected = 'online';
          if (change !== undefined) {
            if (change.state === reported?.state && change.state === 'online') return false;
            reported = change;
          }
          if (liveness.status()?.state !== expected || reported?.state !== expected) return false;
          at = end;
        }
        return true;
      },
    ),
  );
  t.end();
});

t.test('liveness: a dead microphone that plays zeros is not online, and no status is said twice', (t) => {
  const liveness = createLiveness({ silenceSeconds: 1 });
  const sound = Float32Array.of(0.1, -0.1, 0.2);
  t.same(liveness.fail('x', 'gone'), { state: 'offline', code: 'x', reason: 'gone' });
  t.equal(liveness.fail('x', 'gone'), undefined);
  liveness.begin(8);
  t.equal(liveness.chunk(new Float32Array(4)), undefined, 'zeros for half a second say nothing');
  t.match(liveness.chunk(new Float32Array(4)), { code: 'digital_silence', reason: /only zeros/ });
  t.equal(liveness.chunk(new Float32Array(40)), undefined);
  t.same(liveness.chunk(sound), { state: 'online' });
  t.equal(liveness.chunk(sound), undefined);
  t.equal(liveness.chunk(new Float32Array(0)), undefined);
  t.match(liveness.chunk(new Float32Array(9).fill(0.25)), { reason: /one constant value/ });
  t.match(liveness.fail('microphone_stalled', 'nothing'), { code: 'microphone_stalled' });
  liveness.begin(8);
  t.same(liveness.chunk(sound), { state: 'online' });
  t.end();
});

const device = (index: number, name: string, more: Partial<InputDevice> = {}): InputDevice => ({
  index,
  name,
  hostApi: 'ALSA',
  channels: 2,
  defaultSampleRate: 44100,
  isDefault: false,
  ...more,
});
const devices = [
  device(0, 'USB Audio Device: - (hw:1,0)'),
  device(2, 'usb array: - (hw:2,0)', { channels: 6 }),
  device(5, 'default', { isDefault: true, channels: 128 }),
  device(7, '3'),
];
const codeAndMessage = (act: () => unknown) => {
  try {
    act();
  } catch (error) {
    if (error instanceof SoundpostError) return `${error.code}: ${error.message}`;
    throw error;
  }
  return 'nothing was thrown';
};

t.test('a device is found by index, by exact name, by part of a name', (t) => {
  const found = (wanted: string | number | undefined) => findDevice(devices, wanted).index;
  t.equal(found(undefined), 5, 'the default');
  t.equal(found(''), 5);
  t.equal(found(2), 2);
  t.equal(found('2'), 2, 'an index as text');
  t.equal(found('3'), 7, 'a name that looks like an index');
  t.equal(found('hw:1,0'), 0);
  t.equal(found('ARRAY'), 2);
  t.equal(findDevice(devices.slice(0, 2), undefined).index, 0, 'no default: the first');
  t.match(
    codeAndMessage(() => findDevice(devices, 'usb')),
    /^device_ambiguous: .*0: USB Audio.*2: usb array/,
  );
  t.match(
    codeAndMessage(() => findDevice(devices, 'Røde')),
    /^device_not_found: .*"Røde".*0: USB.*default/,
  );
  t.match(
    codeAndMessage(() => findDevice(devices, 9)),
    /^device_not_found: .*index "9"/,
  );
  t.match(
    codeAndMessage(() => findDevice([], 'usb')),
    /^no_microphone: .*wanted: usb/,
  );
  t.end();
});

t.test('channels: real devices are mixed, converters give two, a channel must exist', (t) => {
  t.equal(channelsToOpen(devices[1]!, undefined), 6);
  t.equal(channelsToOpen(devices[2]!, undefined), 2);
  t.equal(channelsToOpen(devices[1]!, 4), 6);
  t.equal(channelsToOpen(devices[2]!, 5), 5);
  t.match(
    codeAndMessage(() => channelsToOpen(devices[1]!, 7)),
    /^no_such_channel: .*6 channels.*channel 7/,
  );
  const interleaved = Float32Array.of(1, 0.5, 0, -1, -0.5, 0);
  const mono = new Float32Array(2);
  mixToMono(interleaved, 3, undefined, mono);
  t.same([...mono], [0.5, -0.5]);
  mixToMono(interleaved, 3, 1, mono);
  t.same([...mono], [1, -1]);
  mixToMono(interleaved, 3, 3, mono);
  t.same([...mono], [0, 0]);
  t.end();
});

t.test('the chatter of the libraries is passed on once, and what matters is remembered', async (t) => {
  const lines: string[] = [];
  const chatter = createChatter((line) => lines.push(line));
  const say = async (text: string) => {
    const stream = new PassThrough();
    chatter.listenTo(stream);
    stream.end(text);
    await new Promise((resolve) => stream.on('close', resolve));
  };
  await say('ALSA lib x\n\u001b[31mfatal: oops\u001b[0m\nALSA lib x\n\nALSA lib y');
  t.same(lines, ['ALSA lib x', 'fatal: oops', 'ALSA lib y']);
  t.equal(chatter.lastWords(), 'fatal: oops');
  chatter.restart();
  t.equal(chatter.lastWords(), undefined);
  await say('fatal: oops\nALSA lib y\n');
  t.equal(lines.length, 3, 'repeats are not passed on');
  t.equal(chatter.lastWords(), 'fatal: oops', 'but still remembered');
  await say(`${'x'.repeat(1e6)}\n`);
  t.ok(lines.every((line) => line.length <= 4096));
});
