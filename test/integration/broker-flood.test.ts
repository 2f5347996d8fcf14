import t from 'tap';
import type { TagsPayload } from '../../src/mqtt/contract.js';
import { freePort } from '../support/broker.js';
import { pour, publishPacket, rawClient, subscribePacket } from '../support/flood.js';
import { createConsole, makeDataDir, residentMb, startService } from '../support/service.js';

const FLOOD_MS = 5000;

t.test('the service outlives a flood at its own broker, and tags go on', async (t) => {
  const port = await freePort();
  const service = startService(t, {
    DATA_DIR: await makeDataDir(t),
    DEVICE_ID: 'flooded',
    BROKER_PORT: String(port),
    AUDIO_SOURCE: 'demo',
    INFERENCE_RATE_HZ: '2',
  });
  await service.line(({ message }) => message.startsWith('Read along'));
  const console = await createConsole(t, `mqtt://127.0.0.1:${port}`, 'flooded');
  await console.on<TagsPayload>('tags');
  const before = residentMb(service.pid);

  const big = Buffer.alloc(100_000, 'x');
  const small = Buffer.from('{}');
  const clients = await Promise.all(Array.from({ length: 40 }, (_, n) => rawClient(port, `flood-${n}`)));
  t.teardown(() => clients.forEach((socket) => socket.destroy()));
  let peak = before;
  const watch = setInterval(() => (peak = Math.max(peak, residentMb(service.pid))), 100);
  t.teardown(() => clearInterval(watch));
  const work = clients.map((socket, n) => {
    const kind = n % 4;
    // It subscribes to everything and reads nothing.
    if (kind === 0) socket.write(subscribePacket(1, ['#', '+/#', 'x/#']));
    return pour(socket, 20_000, FLOOD_MS, (index) => {
      if (kind === 1) return publishPacket(`keep/${n}/${index}`, big, true);
      if (kind === 2) return publishPacket('soundpost/flooded/request/health', small);
      if (kind === 3) return subscribePacket(1 + (index % 60_000), [`${n}/${index}/a`, `${n}/${index}/#`]);
      return publishPacket('x/live', big);
    });
  });
  const poured = await Promise.all(work);
  t.comment(`sent: ${poured.join(' ')}`);
  for (const socket of clients) socket.destroy();
  const after = Date.now();
  await console.on<TagsPayload>('tags', ({ ts }) => Date.parse(ts) > after, 60_000);
  const tags = console.all<TagsPayload>('tags').map(({ ts }) => Date.parse(ts));
  const stall = Math.max(...tags.slice(1).map((time, n) => time - tags[n]!));
  t.comment(`longest time between two tags ${stall} ms; memory ${before.toFixed(0)} → ${peak.toFixed(0)} MB`);
  t.ok(peak - before < 150, `memory grew from ${before.toFixed(0)} to ${peak.toFixed(0)} MB`);
  t.match(await console.request('health'), { status: 'ok' });
});
