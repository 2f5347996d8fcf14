import t from 'tap';
import { withThreshold } from '../../src/service/commands/set-tagging.js';

t.test('a threshold takes the place of that of the same label, however it was spelt', (t) => {
  const nameOf = (key: string) =>
    ({ '/m/0bt9lr': 'Dog', dog: 'Dog', Dog: 'Dog', speech: 'Speech' })[key] ?? key;
  const before = { '/m/0bt9lr': 0.2, dog: 0.3, speech: 0.4, Gone: 0.5 };
  t.strictSame(withThreshold(before, 'Dog', 0.7, nameOf), { speech: 0.4, Gone: 0.5, Dog: 0.7 });
  t.strictSame(withThreshold(before, 'Dog', null, nameOf), { speech: 0.4, Gone: 0.5 });
  t.strictSame(withThreshold(before, 'Gone', null, nameOf), { '/m/0bt9lr': 0.2, dog: 0.3, speech: 0.4 });
  t.strictSame(before, { '/m/0bt9lr': 0.2, dog: 0.3, speech: 0.4, Gone: 0.5 }, 'the one before stays');
  t.end();
});
