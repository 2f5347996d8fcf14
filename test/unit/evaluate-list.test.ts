/** Lists of recordings: what is read of them, and what is said of those that are wrong. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { codeOf, messageOf } from '../../src/common/errors.js';
import { cellsOfCsv } from '../../src/evaluate/list/cells.js';
import { createKnownLabels, splitLabels } from '../../src/evaluate/list/known-labels.js';
import { createProblems } from '../../src/evaluate/list/problems.js';
import { placeOf, readList, type EvaluationList } from '../../src/evaluate/list/read-list.js';
import { readRows } from '../../src/evaluate/list/rows.js';
import { withoutThresholds } from '../../src/models/labels.js';
import { temporaryFolder } from '../support/temporary.js';
import { makeWav } from '../support/wav.js';

const NAMES: [string, string | null][] = [
  ['Speech', '/m/09x0r'],
  ['Dog', '/m/0bt9lr'],
  ['Baby cry, infant cry', '/t/dd00002'],
  ['Water tap, faucet', '/m/02jz0l'],
  ['Crying, sobbing', '/m/0463cq4'],
  ['Doorbell', null],
];
const labels = withoutThresholds(NAMES.map(([name, mid], index) => ({ index, name, mid })));
const known = createKnownLabels(labels, [{ name: 'Running water', labels: ['Water tap, faucet', 'Rain'] }]);

const RATE = 1000;
const sound = (seconds: number) =>
  makeWav({ encoding: 's16', sampleRate: RATE, channels: [new Array<number>(seconds * RATE).fill(0.1)] });

/** Writes files (a number: a recording of so many seconds) and reads `list` among them. */
async function read(
  t: Parameters<typeof temporaryFolder>[0],
  files: Record<string, string | number | Buffer>,
  options: { keepGoing?: boolean; audioFolder?: string; models?: (typeof known)[] } = {},
): Promise<EvaluationList | string[]> {
  const folder = temporaryFolder(t);
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), typeof content === 'number' ? sound(content) : content);
  }
  try {
    return await readList(join(folder, 'list'), {
      models: options.models ?? [known],
      keepGoing: options.keepGoing ?? false,
      audioFolder: options.audioFolder === undefined ? undefined : join(folder, options.audioFolder),
      signal: new AbortController().signal,
    });
  } catch (error) {
    if (codeOf(error) !== 'evaluation_list') throw error;
    return messageOf(error).replaceAll(`${folder}/`, '').replaceAll(folder, '.').split('\n');
  }
}

/** What is expected to have been read. */
function list(found: EvaluationList | string[]): EvaluationList {
  if (Array.isArray(found)) throw new Error(found.join('\n'));
  return found;
}

/** Names of the labels of each recording. */
const labelsOf = ({ recordings, targets }: EvaluationList) =>
  Object.fromEntries(
    recordings.map((recording) => [recording.file, recording.targets.map((target) => targets[target]!.name)]),
  );

void t.test('cells of CSV are what was written into them', (t) => {
  const cell = fc.string({ maxLength: 8 }).map((text) => text.replace(/[\r\n]/g, '').trim());
  fc.assert(
    fc.property(fc.array(cell, { minLength: 1, maxLength: 5 }), (cells) => {
      const line = cells.map((text) => `"${text.replaceAll('"', '""')}"`).join(', ');
      t.same(cellsOfCsv(line), cells);
    }),
  );
  t.same(cellsOfCsv('a, "b, c" ,,d'), ['a', 'b, c', '', 'd']);
  t.same(cellsOfCsv('a,'), ['a', '']);
  t.same(cellsOfCsv('a,"b'), { fault: 'a closing quote (") is missing' });
  t.match(cellsOfCsv('"a"b,c'), { fault: /behind a closing quote/ });
  t.end();
});

void t.test('whatever stands in a list, it is read or refused', (t) => {
  const line = fc.oneof(
    fc.string({ maxLength: 20 }),
    fc
      .array(fc.constantFrom('a.wav', 'Dog', '1', '2.5', '"', '/m/09x0r', 'onset', 'file', 'labels', ''), {
        maxLength: 6,
      })
      .chain((cells) => fc.constantFrom('\t', ',').map((separator) => cells.join(separator))),
  );
  fc.assert(
    fc.property(fc.array(line, { maxLength: 8 }), (lines) => {
      const problems = createProblems('list');
      const rows = readRows(lines.join('\n'), problems);
      // Nothing is passed over in silence: there are rows, or there is a problem.
      return (rows !== null && rows.rows.length > 0) || problems.count > 0;
    }),
    { numRuns: 500 },
  );
  t.end();
});

void t.test('names are those of labels, MIDs, slugs and groups', (t) => {
  for (const [text, name] of [
    ['speech', 'Speech'],
    ['/m/0bt9lr', 'Dog'],
    ['baby_cry_infant_cry', 'Baby cry, infant cry'],
    ['Baby cry,infant cry', 'Baby cry, infant cry'],
    ['Running_water', undefined],
    ['running water', 'Running water'],
    ['Cat', undefined],
  ] as const) {
    t.equal(known.find(text)?.name, name, text);
  }
  t.same(known.find('Running water')?.indexes, [3], 'a group is those of its labels that are there');
  t.match(known.suggestion('Dogg'), /Dog/);
  t.end();
});

void t.test('commas separate names, and belong to them', (t) => {
  const isKnown = (name: string) => known.find(name) !== null;
  t.same(splitLabels('Dog,Speech', isKnown), ['Dog', 'Speech']);
  t.same(splitLabels('Dog, Baby cry, infant cry, Speech', isKnown), [
    'Dog',
    'Baby cry, infant cry',
    'Speech',
  ]);
  t.same(splitLabels('Baby cry, infant cry; Crying, sobbing', isKnown), [
    'Baby cry, infant cry',
    'Crying, sobbing',
  ]);
  t.same(splitLabels('/m/0bt9lr,/m/09x0r', isKnown), ['/m/0bt9lr', '/m/09x0r']);
  t.same(splitLabels('Cat,Dog|', isKnown), ['Cat', 'Dog']);
  t.same(splitLabels(' ', isKnown), []);
  t.end();
});

void t.test('a file and its labels in each line, with a heading or without', async (t) => {
  const files = { 'a.wav': 1, 'b.wav': 1, 'sub/c.wav': 1 };
  const wanted = {
    'a.wav': ['Dog', 'Speech'],
    'b.wav': ['Baby cry, infant cry'],
    'sub/c.wav': [],
  };
  for (const text of [
    'file,labels\na.wav,dog;speech\nb.wav,"Baby cry, infant cry"\nsub/c.wav,\n',
    '\uFEFFfname,mids,labels,split\r\na.wav,x,"Dog,Speech",t\r\nb.wav,x,/t/dd00002,t\r\n\r\nsub/c.wav,x,,t\r\n',
    'filename\tevent_labels\na.wav\tDog,Speech\nb.wav\tBaby cry, infant cry\nsub/c.wav\t\n',
    '# mine\na.wav,Dog,Speech\nb.wav,baby_cry_infant_cry\nsub/c.wav,\n',
  ]) {
    const found = list(await read(t, { ...files, list: text }));
    t.equal(found.kind, 'clips');
    t.same(labelsOf(found), wanted, text);
    t.same(found.recordings[0]!.part, null);
  }
});

void t.test('segments of AudioSet, as single files and within whole ones', async (t) => {
  const text =
    '# Segments csv created Sun Mar  5 10:54:31 2017\n# num_ytids=3\n# YTID, start_seconds, end_seconds, positive_labels\n' +
    '--4gqARaEJE, 0.000, 2.000, "/m/0bt9lr,/m/09x0r"\n-53zl3bPmpM, 11.000, 13.000, "/m/09x0r"\n--BfvyPmVMo, 3.000, 5.000, "/m/0bt9lr"\n';
  const found = list(
    await read(
      t,
      {
        list: text,
        'audio/--4gqARaEJE.wav': 6,
        'audio/Y-53zl3bPmpM_11.000_13.000.wav': 2,
        'audio/--BfvyPmVMo_3000_5000.wav': 2,
      },
      { audioFolder: 'audio' },
    ),
  );
  t.equal(found.kind, 'segments');
  t.same(
    found.recordings.map(({ part }) => part),
    [{ from: 0, to: 2 }, null, null],
  );
  t.same(labelsOf(found)['--4gqARaEJE'], ['Dog', 'Speech']);
  t.same(await read(t, { list: text, '--4gqARaEJE.wav': 6, '-53zl3bPmpM.wav': 2.6 }), [
    'list cannot be evaluated: 2 problems. Correct it, or leave out what is wrong with --keep-going.',
    'list:5: 11 s to 13 s lies outside of -53zl3bPmpM, which lasts 2.60 s',
    'list:6: there is no file --BfvyPmVMo in ..',
  ]);
  t.equal(placeOf({ from: 30, to: 40 }, 9.9), 'whole', 'the segment may be cut short');
  t.equal(placeOf({ from: 30, to: 40 }, 39.8), 'part');
  t.equal(placeOf({ from: 30, to: 40 }, 35), 'outside');
});

void t.test('sounds at their times, as DESED and AudioSet strong have them', async (t) => {
  const found = list(
    await read(t, {
      list: 'filename\tonset\toffset\tevent_label\na.wav\t0.5\t1.0\tDog\na.wav\t1.0\t4.05\tdog\na.wav\t0\t2\tSpeech\nb.wav\t\t\t\nc.wav\n',
      'a.wav': 4,
      'b.wav': 1,
      'c.wav': 1,
    }),
  );
  t.equal(found.kind, 'strong');
  t.same(
    found.recordings.map(({ file, events }) => [
      file,
      events?.map(({ target, onset, offset }) => [found.targets[target]!.name, onset, offset]),
    ]),
    [
      [
        'a.wav',
        [
          ['Speech', 0, 2],
          ['Dog', 0.5, 1],
          ['Dog', 1, 4],
        ],
      ],
      ['b.wav', []],
      ['c.wav', []],
    ],
    'an end that is rounded is that of the recording',
  );
  t.same(found.targets.find(({ name }) => name === 'Dog')?.texts, ['Dog', 'dog']);
  const strong = list(
    await read(t, {
      list: 'segment_id,start_time_seconds,end_time_seconds,label\nb0RFKhbpFJA_30000,0.1,0.9,/m/09x0r\n',
      'b0RFKhbpFJA_30000.wav': 1,
    }),
  );
  t.match(strong.recordings[0]?.events?.[0], { onset: 0.1, offset: 0.9, line: 2 });
});

void t.test('all that is wrong is told at once, with its lines', async (t) => {
  const text = [
    'filename\tonset\toffset\tevent_label',
    'a.wav\t1,5\t2\tDog',
    'a.wav\tnan\t2\tDog',
    'a.wav\t2\t1\tDog',
    'a.wav\t2\t2\tDog',
    'a.wav\t-1\t2\tDog',
    'a.wav\t3\t9\tDog',
    'a.wav\t0\t1\tDogg',
    'a.wav\t1\t2\tDogg',
    'a.wav\t0\t1\tSpeech',
    'a.wav\t0.5\t2\t/m/09x0r',
    'a.wav\t0\t1\tSpeech',
    'a.wav,0,1,Dog',
    'a.wav\t0\t1',
    '\t0\t1\tDog',
    'a.wav\t0\t1\t',
    'b.wav\t0\t1\tDog',
    'empty.wav\t0\t1\tDog',
    'text.wav\t0\t1\tDog',
    'short.wav\t0\t1\tDog',
    'folder\t0\t1\tDog',
    './a.wav\t3\t4\tDog',
    '',
  ].join('\n');
  const files = {
    list: text,
    'a.wav': 4,
    'empty.wav': '',
    'text.wav': 'no sound',
    'short.wav': sound(1).subarray(0, 30),
    'folder/x': '',
  };
  const told = (await read(t, files)) as string[];
  for (const wanted of [
    /^list cannot be evaluated: 19 problems\./,
    /^list:2: "1,5" is no time in seconds: write a point/,
    /^list:3: "nan" is no time/,
    /^list:4: it ends \(1 s\) before it begins \(2 s\)/,
    /^list:5: it begins and ends at 2 s/,
    /^list:6: the time -1 lies before the beginning/,
    /^list:7: 3 s to 9 s lies outside of a\.wav, which lasts 4\.00 s/,
    /^list:8: the model does not know the label "Dogg" \(and in 1 more lines\)\. Did you mean Dog\?/,
    /^list:11: it overlaps line 10, of the same label/,
    /^list:12: the same stands in line 10/,
    /^list:13: there are 1 columns where the list has 4; are there two kinds of list in it/,
    /^list:14: there are 3 columns where the list has 4/,
    /^list:15: there is no name of a file/,
    /^list:16: there is a time, and no label/,
    /^list:17: there is no file b\.wav in \..*Did you mean a\.wav/,
    /^list:18: empty\.wav is empty/,
    /^list:19: .*text\.wav (is not a WAV file|cannot be read as audio)/,
    /^list:20: short\.wav is a damaged WAV file/,
    /^list:21: folder is a folder/,
    /^list:22: \.\/a\.wav stands in line \d+ already/,
  ]) {
    t.ok(
      told.some((line) => wanted.test(line)),
      String(wanted),
    );
  }
  t.equal(told.length, 20, told.join('\n'));

  const some = list(await read(t, files, { keepGoing: true }));
  t.equal(some.leftOut.length, 19);
  t.same(
    some.recordings.map(({ file, events }) => [file, events?.length]),
    [['a.wav', 1]],
    'what is right of it is left',
  );
});

void t.test('a list without anything to go on with is refused, --keep-going or not', async (t) => {
  for (const [text, wanted] of [
    ['', /no line with a recording/],
    ['# only a word\n\n', /no line with a recording/],
    ['file,labels\n', /only a heading/],
    ['onset,offset,event_label\n1,2,Dog\n', /no column for the files/],
    ['file,onset,label\na.wav,1,Dog\n', /no column for the offsets/],
    ['a.wav\n', /there is no label; a recording without any is written "a\.wav,"/],
    ['a.wav,Dog\n', /there is no file a\.wav/],
  ] as const) {
    for (const keepGoing of [false, true]) {
      const told = await read(t, { list: text }, { keepGoing });
      t.match(Array.isArray(told) && told.join('\n'), wanted, text);
    }
  }
  t.match(await read(t, { list: Buffer.from([0x61, 0xff, 0xfe]) }), [/is no text in UTF-8/]);
  t.match(await read(t, {}), [/^list does not exist/]);
});

void t.test('of endless problems the first fifty are told, and how many more there are', async (t) => {
  const lines = Array.from({ length: 80 }, (_, index) => `f${index}.wav,Dog`);
  const told = (await read(t, { list: lines.join('\n') })) as string[];
  t.equal(told.length, 52);
  t.match(told.at(-1), /and 30 more/);
});

void t.test('a name that one of several models knows is known', async (t) => {
  const other = createKnownLabels(withoutThresholds([{ index: 0, name: 'Cat', mid: null }]), []);
  const files = { 'a.wav': 1, list: 'a.wav,Dog,Cat,Bird\n' };
  const told = (await read(t, files, { models: [known, other] })) as string[];
  t.equal(told.length, 2);
  t.match(told[1], /none of the models knows the label "Bird"/);
});

void t.test('the same recording or the same label twice', async (t) => {
  const told = await read(t, { 'a.wav': 1, list: 'a.wav,Dog\na.wav,Speech\n' });
  t.match(told, [/one problem/, /^list:2: a\.wav stands in line 1 already; put its labels together/]);
  t.match(await read(t, { 'a.wav': 1, list: 'a.wav,Dog,/m/0bt9lr\n' }), [
    /one problem/,
    /^list:1: a label stands here twice/,
  ]);
});
