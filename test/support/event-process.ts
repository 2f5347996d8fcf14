import { writeSync } from 'node:fs';
import { silentLogger } from '../../src/common/log.js';
import { isoTime } from '../../src/mqtt/contract.js';
import { openDiskOutbox } from '../../src/mqtt/disk-outbox.js';
import { createLink } from '../../src/mqtt/link.js';
import { endWith, eventWith } from './events.js';

/*
 * A process with nothing in it but the outbox and the link, that hears a sound every few milliseconds, to be killed by
 * a test. It prints each event as soon as the outbox has it: from then on it is promised. Arguments: broker
 * URLs with commas between them, device id, folder of the outbox, the number of this life. SIGUSR2 ends the sounds, SIGTERM the process.
 */
const [url = '', deviceId = '', folder = '', life = ''] = process.argv.slice(2);
const outbox = await openDiskOutbox({
  folder,
  maxBytes: 64_000_000,
  log: silentLogger,
  tuning: { aliveMs: 100, removeAfterMs: 50 },
});
const link = createLink({
  url: url.split(','),
  baseTopic: 'soundpost',
  deviceId,
  log: silentLogger,
  onRequest: () => undefined,
  outbox: {
    ...outbox,
    async append(event) {
      await outbox.append(event);
      writeSync(1, `${JSON.stringify(event)}\n`);
    },
  },
  timing: { firstDelayMs: 20, maxDelayMs: 200, startSpreadMs: 0 },
});
await link.start();

let sounds = 0;
const on: ReturnType<typeof eventWith>[] = [];
const timer = setInterval(() => {
  // In twos, so that events come together.
  for (let n = 0; n < 2; n += 1) {
    sounds += 1;
    const id = `${life.padStart(2, '0')}-${String(sounds).padStart(6, '0')}`;
    const started = eventWith({ id, started_at: isoTime(Date.now()) });
    link.publish('event', started);
    on.push(started);
    if (on.length > 3) link.publish('event', endWith(on.shift()!, 1));
  }
  link.publish('label', sounds % 4 === 0 ? 'ON' : 'OFF', { slug: 'dog' });
}, 8);
process.on('SIGUSR2', () => {
  clearInterval(timer);
  for (const started of on.splice(0)) link.publish('event', endWith(started, 1));
  link.publish('label', 'OFF', { slug: 'dog' });
});
process.on('SIGTERM', () => {
  void link
    .stop()
    .then(() => outbox.close())
    .then(() => process.exit(0));
});
