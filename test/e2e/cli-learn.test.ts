/** `soundpost learn` as a person meets it. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { t } from 'tap';
import { TONE_SOUNDS } from '../../tools/learn/tones.js';
import { cli, cliHome } from '../support/cli.js';
import { createRandom } from '../support/random.js';
import { encodeWav } from '../support/wav.js';

const RATE = 32_000;
const { folder, ownData } = cliHome(t);
const env = { SOUNDPOST_DATA_DIR: ownData('learn-data') };

/** A recording of a sound, a second of a quiet room before and behind it; each time louder. */
function recording(sound: string, n: number): string {
  const random = createRandom(n);
  const samples = TONE_SOUNDS[sound]!(RATE, random);
  const out = new Float32Array(samples.length + 2 * RATE).map(() => 0.001 * (random() - 0.5));
  samples.forEach((value, i) => (out[RATE + i]! += value * (0.2 + 0.2 * n)));
  const path = join(folder, `${sound.replaceAll(' ', '-')}-${n}.wav`);
  writeFileSync(path, encodeWav(out, RATE));
  return path;
}

const chimes = [1, 2, 3].map((n) => recording('two-tone chime', n));
const kettle = recording('kettle whistle', 1);
const silence = join(folder, 'silence.wav');
writeFileSync(silence, encodeWav(new Float32Array(2 * RATE), RATE));

void t.test('a sound is taught, told of, taught anew, and forgotten', async (t) => {
  const first = await cli(['learn', 'Our doorbell', ...chimes], { env });
  t.equal(first.code, 0, first.stderr);
  t.match(first.stdout, /^Our doorbell has been taught\. 3 of its 3 examples were found/);
  t.match(first.stdout, /This device has heard too little to say/);
  const list = await cli(['learn', '--list'], { env });
  t.match(list.stdout, /^Our doorbell +soundpost-home +0\.\d+ +3 of 3 +too little heard/m);
  const json = await cli(['learn', '--list', '--json'], { env });
  t.match(JSON.parse(json.stdout), [
    { name: 'Our doorbell', examples: [{ kind: 'file', name: 'two-tone-chime-1.wav' }, {}, {}] },
  ]);
  const twice = await cli(['learn', 'our doorbell', ...chimes], { env });
  t.equal(twice.code, 1);
  t.match(twice.stderr, /There is a taught sound "Our doorbell" already.*--replace/);
  const anew = await cli(['learn', '--replace', 'our doorbell', ...chimes, '--json'], { env });
  t.match(JSON.parse(anew.stdout), { name: 'our doorbell', slug: 'our_doorbell' });
  const gone = await cli(['learn', '--remove', 'Our doorbell'], { env });
  t.equal(gone.code, 0, gone.stderr);
  t.match((await cli(['learn', '--list'], { env })).stdout, /^Nothing has been taught yet/);
});

void t.test('what cannot be taught is told precisely, and nothing is left of it', async (t) => {
  for (const [args, said] of [
    [[], /Name the sound, and then its recordings/],
    [['Ring'], /Name the recordings/],
    [['Ring', ...chimes.slice(0, 2)], /"Ring" has 2 examples; at least 3 are needed\. Give 1 more/],
    [['DOORBELL', ...chimes], /"Doorbell" is a label of soundpost-home/],
    [['Ring', ...chimes, join(folder, 'none.wav')], /none\.wav/],
    [['Ring', ...chimes, silence], /silence\.wav has no sound in it/],
    [['Ring', ...chimes, kettle], /kettle-whistle-1\.wav does not sound like .*two-tone-chime-1\.wav/],
    [['--remove', 'Ring'], /No sound "Ring" has been taught/],
    [['--list', 'Bell'], /--list takes no name/],
  ] as const) {
    const { code, stderr, stdout } = await cli(['learn', ...args], { env });
    t.not(code, 0, args.join(' '));
    t.match(stderr, said, args.join(' '));
    t.equal(stdout, '');
  }
  t.match((await cli(['learn', '--list'], { env })).stdout, /^Nothing has been taught yet/);
});
