import { writeSync } from 'node:fs';
import { silentLogger } from '../../src/common/log.js';
import { openHistory } from '../../src/history/history.js';
import { openBackground } from '../../src/learning/background.js';
import { hourOf, KEPT_MODEL, momentOf } from './kept.js';

/*
 * A process with nothing in it but the counts of thresholds (`firings`) or the background (`background`), which keeps one
 * thing after the other, to be killed by a test. It prints the number of each once it is written, on a line of its own.
 * Arguments: which of the two, data folder, the first number.
 */
const [what = '', dataDir = '', first = ''] = process.argv.slice(2);

function keeper(): { keep(n: number): void; settled(): Promise<void> } {
  if (what === 'firings') {
    const history = openHistory({ dataDir, days: 3650, maxMb: 64, log: silentLogger });
    return { keep: (n) => history.firings(hourOf(n)), settled: () => history.settled() };
  }
  const background = openBackground({ dataDir, maxMb: 64, log: silentLogger });
  return { keep: (n) => background.add(KEPT_MODEL, momentOf(n)), settled: () => background.settled() };
}

const kept = keeper();
// Several together, so that a write can be cut in two.
const TOGETHER = 8;
for (let n = Number(first); ; n += TOGETHER) {
  for (let each = n; each < n + TOGETHER; each += 1) kept.keep(each);
  await kept.settled();
  writeSync(1, `${n + TOGETHER - 1}\n`);
}
