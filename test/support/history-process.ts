import { writeSync } from 'node:fs';
import { silentLogger } from '../../src/common/log.js';
import { openHistory } from '../../src/history/history.js';
import { isoTime } from '../../src/mqtt/contract.js';
import { endWith, eventWith } from './events.js';

/*
 * A process with nothing in it but a history, which hears a sound every millisecond or so, to be killed by a test. It
 * prints the id of each sound once it is written, on a line of its own. Arguments: data folder, the number of this life.
 */
const [dataDir = '', life = ''] = process.argv.slice(2);
const history = openHistory({ dataDir, days: 30, maxMb: 64, log: silentLogger });

for (let sounds = 0; ; sounds += 1) {
  const id = `${life.padStart(3, '0')}-${String(sounds).padStart(6, '0')}`;
  const started = eventWith({ id, started_at: isoTime(Date.now()) });
  history.event(started);
  // Long enough for a write to be cut in two now and then.
  for (let n = 0; n < 20; n += 1) {
    history.scores({ tsMs: n * 60_000, source: 'main', scores: new Map([['x'.repeat(1000), n / 20]]) });
  }
  await history.settled();
  history.event(endWith(started, 1));
  await history.settled();
  writeSync(1, `${id}\n`);
}
