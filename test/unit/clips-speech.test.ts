import t from 'tap';
import { createSpeechJudge, isSpeech } from '../../src/clips/speech.js';
import { readLabelSet, type Label } from '../../src/models/labels.js';
import { projectPath } from '../support/shared.js';

const label = (index: number, name: string, mid: string | null, threshold: number | null = null): Label => ({
  index,
  name,
  mid,
  threshold,
  thresholdFrom: threshold === null ? null : 'label_set',
});

t.test('of the labels of AudioSet those are speech in which words may be heard', async (t) => {
  const labels = await readLabelSet(projectPath('models/labels/audioset-527.json'));
  t.same(
    labels.filter(isSpeech).map(({ name }) => name),
    [
      'Speech',
      'Male speech, man speaking',
      'Female speech, woman speaking',
      'Child speech, kid speaking',
      'Conversation',
      'Narration, monologue',
      'Babbling',
      'Speech synthesizer',
      'Shout',
      'Bellow',
      'Whoop',
      'Yell',
      'Battle cry',
      'Children shouting',
      'Whispering',
      'Chatter',
      'Hubbub, speech noise, speech babble',
    ],
  );
  t.not(createSpeechJudge(labels), null);
});

t.test('a model of other labels knows speech by its name, or not at all', (t) => {
  for (const name of ['speech', 'People talking', 'human voice', 'Whispering ', 'background conversation']) {
    t.ok(isSpeech({ name, mid: null }), name);
  }
  for (const name of ['Dog', 'Invoice printer', 'Screaming', 'Singing', 'Loudspeaker hum']) {
    t.notOk(isSpeech({ name, mid: null }), name);
  }
  t.equal(createSpeechJudge([label(0, 'Dog', null), label(1, 'Siren', '/m/03kmc9')]), null);
  t.end();
});

t.test('speech is heard in any frame, at the lower of the two thresholds', (t) => {
  const labels = [
    label(0, 'Dog', '/m/0bt9lr', 0.1),
    label(1, 'Speech', '/m/09x0r', 0.25),
    label(2, 'Whispering', '/m/02rtxlg'),
  ];
  const judge = createSpeechJudge(labels, ({ name }) => (name === 'Speech' ? 0.9 : undefined))!;
  t.notOk(judge.hears(Float32Array.of(1, 0.24, 0.49)));
  t.ok(judge.hears(Float32Array.of(0, 0.25, 0)), 'whatever threshold is set for its events');
  t.ok(judge.hears(Float32Array.of(0, 0, 0.5)), 'without a recommended one');
  t.ok(judge.hears(Float32Array.of(0, 0, 0, 0, 0.3, 0), 2));
  t.notOk(judge.hears(Float32Array.of(0, 0, 0, 0, 0.3, 0), 1));
  const strict = createSpeechJudge(labels, () => 0.05)!;
  t.ok(strict.hears(Float32Array.of(0, 0.06, 0)));
  t.end();
});
