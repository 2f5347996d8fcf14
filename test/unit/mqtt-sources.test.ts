import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { silentLogger } from '../../src/common/log.js';
import { createTopics } from '../../src/mqtt/topics.js';
import { createSourceLink, type LinkOfSource } from '../../src/mqtt/source-link.js';
import { clearFormerSources } from '../../src/service/former-sources.js';
import { openLabelMemory } from '../../src/service/label-memory.js';
import { createLabelTopics } from '../../src/service/label-topics.js';
import { meantSource, meantSources } from '../../src/service/which-source.js';
import { eventWith } from '../support/events.js';
import { createRecordingLog } from '../support/recording-log.js';
import { temporaryFolder } from '../support/temporary.js';

interface Said {
  /** Below `B`, of `publish` and `retire`. */
  topic: string;
  what: 'publish' | 'retire' | 'elsewhere';
  payload?: unknown;
  delivered?: (() => void) | undefined;
}

/** A link that writes down what it is told. */
function fakeLink() {
  const said: Said[] = [];
  const topics = createTopics('soundpost', 'test');
  const below = (topic: string) => topic.slice(topics.base.length + 1);
  const of = (key: string, parameters: unknown) =>
    below((topics.of as (key: string, parameters: unknown) => string)(key, parameters));
  const link = {
    topics,
    publish: (key: string, payload: unknown, parameters?: unknown) =>
      void said.push({ what: 'publish', topic: of(key, parameters), payload }),
    retire: (key: string, parameters?: unknown) =>
      void said.push({ what: 'retire', topic: of(key, parameters) }),
    publishElsewhere: (topic: string, text: string, { delivered }: { delivered?: () => void } = {}) =>
      void said.push({ what: 'elsewhere', topic: below(topic), payload: text, delivered }),
  };
  return { link: link as unknown as LinkOfSource, said };
}

const level = { ts: '2026-01-01T00:00:00.000Z', dbfs: -30, peak_dbfs: -10 };

t.test('one source speaks on the plain topics, each of several on its own', (t) => {
  for (const [source, front] of [
    [null, ''],
    ['yard', 'source/yard/'],
  ] as const) {
    const { link, said } = fakeLink();
    const own = createSourceLink(link, source);
    t.equal(own.source, source);
    own.publish('level', level);
    own.publish('audio/status', 'online');
    own.publish('label', 'ON', { slug: 'dog' });
    own.retire('label', { slug: 'dog' });
    own.retire('tags');
    own.publishElsewhere(own.topics.of('label', { slug: 'dog' }), '');
    const event = eventWith({ id: 'e' });
    own.event(event);
    t.match(said, [
      { what: 'publish', topic: `${front}level`, payload: level },
      { what: 'publish', topic: `${front}audio/status`, payload: 'online' },
      { what: 'publish', topic: `${front}label/dog`, payload: 'ON' },
      { what: 'retire', topic: `${front}label/dog` },
      { what: 'retire', topic: `${front}tags` },
      { what: 'elsewhere', topic: `${front}label/dog`, payload: '' },
      ...(source === null ? [] : [{ what: 'publish', topic: `${front}event`, payload: event }]),
    ]);
    t.equal(said.length, source === null ? 6 : 7, 'the only source has no topic for events of its own');
  }
  t.end();
});

t.test('a request is about the source that it names, or about all', (t) => {
  const names = ['nursery', 'yard'];
  t.same(meantSources(undefined, names), names);
  t.same(meantSources('yard', names), ['yard']);
  t.throws(() => meantSources('yrad', names), {
    code: 'source_unknown',
    message: 'There is no source "yrad". Did you mean yard? Those there are: nursery, yard.',
  });
  t.throws(() => meantSources('yard', ['main']), { message: /The only one is main\.$/ });
  t.throws(() => meantSources('constructor', names), { code: 'source_unknown' });
  const microphones = (fit: string[]) => ({ names, fit, what: 'microphones' });
  t.equal(meantSource('nursery', microphones([])), 'nursery', 'whether it is fit is said by who does it');
  t.equal(meantSource(undefined, microphones(['yard'])), 'yard');
  t.equal(meantSource(undefined, microphones([])), null);
  t.throws(() => meantSource('attic', microphones(['yard'])), { code: 'source_unknown' });
  t.throws(() => meantSource(undefined, microphones(names)), {
    code: 'source_required',
    message: /several microphones.*\{"source":"nursery"\}.*nursery, yard\.$/,
  });
  t.end();
});

t.test('labels are remembered for each source by itself', async (t) => {
  const dataDir = temporaryFolder(t);
  writeFileSync(join(dataDir, 'labels.json'), '["dog","siren"]\n');
  const memory = openLabelMemory({ dataDir, log: silentLogger });
  t.same(memory.of(null).slugs(), ['dog', 'siren'], 'a file from before there were several');
  t.same(memory.of('yard').slugs(), []);
  memory.of('yard').add('dog');
  memory.of('yard').add('cat');
  memory.of('hall').add('dog');
  memory.of('yard').add('dog');
  memory.of(null).forget('siren');
  memory.of('hall').forget('cat');
  t.same(memory.of('yard').slugs(), ['cat', 'dog'], 'in the order of their last use');
  await memory.stop();
  const next = openLabelMemory({ dataDir, log: silentLogger });
  t.same(new Set(next.sources()), new Set([null, 'yard', 'hall']));
  t.same(next.of('yard').slugs(), ['cat', 'dog']);
  t.same(next.of('hall').slugs(), ['dog']);
  t.same(next.of(null).slugs(), ['dog']);
  t.notOk(next.of('yard').isIncomplete);
});

t.test('whatever labels of whatever sources are remembered, the next life knows them', async (t) => {
  const source = fc.option(fc.stringMatching(/^[a-z0-9][a-z0-9_-]{0,31}$/), { nil: null });
  const slug = fc.stringMatching(/^[a-z0-9_]{1,20}$/);
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(source, slug), { maxLength: 20 }), async (entries) => {
      const dataDir = temporaryFolder(t);
      const memory = openLabelMemory({ dataDir, log: silentLogger });
      for (const [name, label] of entries) memory.of(name).add(label);
      await memory.stop();
      const next = openLabelMemory({ dataDir, log: silentLogger });
      for (const [name] of entries) t.same(next.of(name).slugs(), memory.of(name).slugs());
      t.same(next.sources(), memory.sources());
    }),
    { numRuns: 25 },
  );
});

t.test('an entry that is neither a slug nor one of a source makes the memory an incomplete one', (t) => {
  for (const entry of ['Yard/dog', 'yard/Dog', 'a/b/c', '/dog', 'yard/', '../x']) {
    const dataDir = temporaryFolder(t);
    writeFileSync(join(dataDir, 'labels.json'), JSON.stringify([entry]));
    t.ok(openLabelMemory({ dataDir, log: silentLogger }).of('yard').isIncomplete, entry);
  }
  t.end();
});

t.test('the next life switches off the labels of each source on its own topics', (t) => {
  const { link, said } = fakeLink();
  const dataDir = temporaryFolder(t);
  writeFileSync(join(dataDir, 'labels.json'), '["dog","yard/cat","hall/cow"]\n');
  const memory = openLabelMemory({ dataDir, log: silentLogger });
  const topics = createLabelTopics({
    link: createSourceLink(link, 'yard'),
    memory: memory.of('yard'),
    installed: [],
    on: () => new Set(),
  });
  topics.show('siren', 'ON');
  topics.retireAllBut([{ slug: 'siren' }], []);
  t.match(said, [
    { what: 'publish', topic: 'source/yard/label/cat', payload: 'OFF' },
    { what: 'publish', topic: 'source/yard/label/siren', payload: 'ON' },
    { what: 'retire', topic: 'source/yard/label/siren' },
    { what: 'retire', topic: 'source/yard/last/siren' },
  ]);
  t.equal(said.length, 4);
  t.same(memory.of('yard').slugs(), ['cat', 'siren']);
  t.end();
});

/** A start with these sources, and what it cleared. */
function startWith(t: Test, dataDir: string, sources: readonly string[], labels: readonly string[] = []) {
  const { link, said } = fakeLink();
  const log = createRecordingLog();
  const memory = openLabelMemory({ dataDir, log });
  const installed = [
    {
      labels: labels.map((name, index) => ({ index, name, mid: null, threshold: null, thresholdFrom: null })),
    },
  ];
  const former = clearFormerSources({ dataDir, sources, link, labels: memory, installed, log });
  t.ok(
    said.every(({ what, payload }) => what === 'elsewhere' && payload === ''),
    'nothing but empty messages',
  );
  return {
    memory,
    log,
    cleared: said.map(({ topic }) => topic).sort(),
    /** The broker has taken those of these that fit. */
    deliver: (fits = /./) => said.filter(({ topic }) => fits.test(topic)).forEach((one) => one.delivered?.()),
    async stop() {
      await former.stop();
      await memory.stop();
    },
  };
}

const topicsOf = (name: string, ...slugs: string[]) => [
  `source/${name}/audio/status`,
  ...slugs.map((slug) => `source/${name}/label/${slug}`),
  ...slugs.map((slug) => `source/${name}/last/${slug}`),
  `source/${name}/level`,
  `source/${name}/tags`,
];

t.test('a device with one source clears nothing and writes nothing', async (t) => {
  const dataDir = temporaryFolder(t);
  writeFileSync(join(dataDir, 'labels.json'), '["dog"]\n');
  const life = startWith(t, dataDir, []);
  t.same(life.cleared, []);
  await life.stop();
  t.notOk(existsSync(join(dataDir, 'sources.json')));
  t.same(life.log.lines, []);
});

t.test('topics of sources that are gone are cleared, until the broker has taken it', async (t) => {
  const dataDir = temporaryFolder(t);
  const file = () => JSON.parse(readFileSync(join(dataDir, 'sources.json'), 'utf8')) as unknown;
  writeFileSync(join(dataDir, 'labels.json'), '["dog"]\n');

  const second = startWith(t, dataDir, ['yard', 'hall']);
  t.same(second.cleared, ['label/dog', 'last/dog', 'level', 'tags'], 'those of the life with one source');
  second.memory.of('yard').add('cat');
  second.memory.of('hall').add('cow');
  second.deliver();
  await second.stop();
  t.same(file(), ['yard', 'hall']);
  t.same(second.memory.of(null).slugs(), []);

  const third = startWith(t, dataDir, ['hall', 'attic']);
  t.same(third.cleared, ['level', ...topicsOf('yard', 'cat'), 'tags']);
  third.deliver(/cat/);
  third.deliver(/^source\/yard\/tags/);
  await third.stop();
  t.same(file(), ['yard', 'hall', 'attic'], 'the broker has not taken all of it');

  const fourth = startWith(t, dataDir, ['hall', 'attic']);
  t.same(fourth.cleared, ['level', ...topicsOf('yard'), 'tags']);
  fourth.deliver();
  await fourth.stop();
  t.same(file(), ['hall', 'attic']);

  const back = startWith(t, dataDir, []);
  t.same(back.cleared, [...topicsOf('attic'), ...topicsOf('hall', 'cow')]);
  back.deliver();
  await back.stop();
  t.same(file(), []);
  const last = startWith(t, dataDir, []);
  t.same(last.cleared, []);
  await last.stop();
});

t.test('a source of which only the labels are known is cleared as well', async (t) => {
  const dataDir = temporaryFolder(t);
  writeFileSync(join(dataDir, 'labels.json'), '["yard/cat","hall/cow"]\n');
  const life = startWith(t, dataDir, ['hall', 'attic']);
  t.same(life.cleared, ['level', ...topicsOf('yard', 'cat'), 'tags']);
  await life.stop();
});

t.test('where the memory of labels is incomplete, every label of the models is cleared', async (t) => {
  const dataDir = temporaryFolder(t);
  writeFileSync(join(dataDir, 'labels.json'), '["dog"]\t');
  writeFileSync(join(dataDir, 'sources.json'), '["yard"]\n');
  const life = startWith(t, dataDir, ['hall', 'attic'], ['Cat', 'Dog']);
  t.same(life.cleared, [
    ...['label/cat', 'label/dog', 'last/cat', 'last/dog', 'level'],
    ...topicsOf('yard', 'cat', 'dog'),
    'tags',
  ]);
  await life.stop();
});

t.test('a file that is none of ours is named, set aside and written anew', async (t) => {
  for (const text of ['{', '["../x"]', '[1]', '{"a":1}']) {
    const dataDir = temporaryFolder(t);
    writeFileSync(join(dataDir, 'sources.json'), text);
    const life = startWith(t, dataDir, ['hall', 'attic']);
    t.match(life.log.lines, [
      { level: 'warn', fields: { code: 'sources_unreadable' }, message: /set aside/ },
    ]);
    await life.stop();
    t.equal(readFileSync(join(dataDir, 'sources.json'), 'utf8'), '["hall","attic"]\n', text);
  }
});
