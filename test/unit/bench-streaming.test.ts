import t from 'tap';
import { faultsOf, hourText, summaryOf } from '../../tools/streaming/soak-report.js';
import type { SoakHour } from '../../tools/streaming/soak.js';
import { createHops } from '../../tools/streaming/both-forms.js';
import { onPi4, thermalTable } from '../../tools/streaming/thermal-table.js';
import { createScenes } from '../../tools/streaming/scenes.js';

const hour = (hours: number, changes: Partial<SoakHour> = {}): SoakHour => ({
  ...{ hours, hops: 3600, compared: 37, hopMs: 70, worstScore: 1e-7, worst: 2e-7, notFinite: 0 },
  ...{ residentMb: 1300, heapMb: 10, buffersMb: 340, beginnings: 1 },
  ...changes,
});

t.test('a soak without a fault says what it saw', (t) => {
  const hours = [hour(1), hour(2, { residentMb: 1310, worst: 5e-7 })];
  t.same(faultsOf(hours), []);
  const text = summaryOf({ name: 'Cnn14', reason: null, hours, faults: [] });
  t.match(text, 'Cnn14: 2.00 h of sound, 7200 hops, 74 compared');
  t.match(text, 'at most 5.0e-7 off, 2.0e-7 in the first hour and 5.0e-7 in the last one');
  t.match(text, 'memory 1300 MB after the first hour and 1310 MB at the end');
  t.match(hourText('Cnn14', hours[0]!), /^Cnn14 {4}1\.00 h; 3600 hops of 70\.0 ms; 37 compared/);
  t.end();
});

t.test('whatever is wrong in a soak is a fault', (t) => {
  t.match(faultsOf([]), [/nothing was computed/]);
  t.match(faultsOf([hour(1), hour(2, { worst: 2e-5 })]), [/2\.0e-5 off/]);
  t.match(faultsOf([hour(1), hour(2, { worst: NaN })]), [/off/]);
  t.match(faultsOf([hour(1, { notFinite: 1 }), hour(2)]), [/1 outputs were no finite numbers/]);
  t.match(faultsOf([hour(1), hour(2, { residentMb: 1400 })]), [/memory grew by 100 MB/]);
  t.match(faultsOf([hour(1), hour(2, { buffersMb: 400 })]), [/buffers grew by 60 MB/]);
  t.match(faultsOf([hour(1), hour(2, { beginnings: 2 })]), [/begun 2 times/]);
  t.match(summaryOf({ name: 'x', reason: 'it ended with SIGKILL', hours: [], faults: [] }), 'SIGKILL');
  t.end();
});

t.test('hops are whole steps of the grid, and a second on the average', (t) => {
  const next = createHops(32_000, 10_240);
  let [sum, furthest, isWhole] = [0, 0, true];
  for (let hop = 1; hop <= 1000; hop += 1) {
    const moved = next();
    isWhole &&= moved === 3 * 10_240 || moved === 4 * 10_240;
    sum += moved;
    furthest = Math.max(furthest, Math.abs(sum - hop * 32_000));
  }
  t.ok(isWhole, 'three or four steps');
  t.ok(furthest < 10_240, `never further than ${furthest} samples from the second`);
  t.end();
});

const isSame = (one: Float32Array, other: Float32Array): boolean =>
  one.length === other.length && one.every((value, i) => value === other[i]);

t.test('scenes do not repeat, stay within bounds and do not depend on how they are cut', (t) => {
  const [one, other] = [createScenes(8000), createScenes(8000)];
  const whole = one(160_000);
  let at = 0;
  for (const length of [1, 7999, 40_000, 112_000]) {
    t.ok(isSame(other(length), whole.subarray(at, at + length)), `${length} samples from ${at} on`);
    at += length;
  }
  t.ok(whole.every((value) => Math.abs(value) <= 1));
  t.ok(whole.some((value) => Math.abs(value) > 0.01));
  t.notOk(isSame(one(160_000), whole), 'what comes next is other sound');
  t.end();
});

t.test('what a bare board holds: by the heat of its hops', (t) => {
  // In air of 20 °C the soft limit is reached where the cores work 58 % of the time, in 45 °C 9 %.
  const [light, middle, heavy] = [0.05, 0.4, 3].map((seconds) => onPi4(seconds * 1000, 1));
  t.same(light, { hopSeconds: 0.05, meanHz: { 20: 1, 45: 1 } });
  t.equal(middle!.meanHz[20], 1);
  t.ok(middle!.meanHz[45] > 0.15 && middle!.meanHz[45] < 0.25, `${middle!.meanHz[45]} Hz`);
  t.ok(heavy!.meanHz[20] < 1 / 3, 'no more than there is time for');
  t.ok(heavy!.meanHz[45] < heavy!.meanHz[20]);
  const figures = {
    ...{ gridSeconds: 0.32, wholeMs: 3000, streamMs: 50, share: 0.1, macsShare: 0.1, firstMs: 4000 },
    ...{ stateBytes: 1, worstScore: 0, worst: 0, meanScoreOff: 0, sameTop: 1 },
  };
  const table = thermalTable([{ name: 'Cnn14', reason: null, figures }], 1);
  t.equal(table.length, 3);
  t.match(
    table[2],
    /^\| Cnn14 \| 3000\.0 \| 50\.0 \| 3\.00 \| 0\.05 \| 0\.\d\d \| \*\*1\*\* \| 0\.\d\d \| \*\*1\*\* \|$/,
  );
  t.same(thermalTable([{ name: 'mn04', reason: 'a mean', figures: null }]).length, 2);
  t.end();
});
