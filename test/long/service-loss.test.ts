import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import type { TelemetryPayload } from '../../src/mqtt/contract.js';
import { firsts, lastingBroker, startConsumer } from '../support/consumer.js';
import { beep, looped, sound, start } from '../support/service-rig.js';
import { residentMb, type ServiceProcess } from '../support/service.js';
import { cannotMount, mountSmallDisk } from '../support/small-disk.js';
import { startProxy } from '../support/tcp-proxy.js';
import { installToneModel } from '../support/tone-models.js';
import { skipWithout } from '../support/tools.js';
import { seededRandom } from '../support/random.js';

/* The whole service, with a broker that does not read, and killed in the middle of its work. */

const heard = ({ lines }: ServiceProcess): number =>
  lines.filter(({ message }) => message.startsWith('Heard')).length;

/** Resolves when the service has heard so many sounds in all. */
async function hears(service: ServiceProcess, count: number): Promise<void> {
  await service.line(() => heard(service) >= count);
}

t.test('the service', { skip: skipWithout('mosquitto') }, async (t) => {
  const broker = await lastingBroker(t);

  t.test('goes on listening while the broker does not read', async (t) => {
    const proxy = await startProxy(broker.port);
    t.teardown(() => proxy.stop());
    const settings = {
      ...looped,
      INFERENCE_RATE_HZ: '20',
      TELEMETRY_INTERVAL_SECONDS: '1',
      TAGGING_MIN_GAP_SECONDS: '0',
    };
    const url = `mqtt://127.0.0.1:${proxy.port}`;
    const { service, id } = await start(t, url, settings, sound(beep(3, 0.5)));
    const consumer = await startConsumer(t, broker.url, `soundpost/${id}`);
    await hears(service, 2);
    const before = residentMb(service.pid);
    const seqBefore = consumer.seq();
    proxy.pause();
    await hears(service, heard(service) + 3);
    const after = residentMb(service.pid);
    proxy.mend();
    const telemetry = () => JSON.parse(consumer.states.get('telemetry') ?? '{}') as Partial<TelemetryPayload>;
    await consumer.until(() => consumer.seq() > seqBefore + 100, 'the windows of the pause, by their count');
    const caughtUp = consumer.seq();
    await consumer.until(() => (telemetry().windows?.processed ?? 0) > caughtUp, 'telemetry');
    t.equal(telemetry().windows?.dropped, 0, 'no window was left out');
    t.ok(after - before < 30, `${before.toFixed(0)} MB before, ${after.toFixed(0)} MB after`);
    const begun = () =>
      [...firsts(consumer.events).values()].filter(({ event_type }) => event_type === 'started').length;
    // The consumer came after the first sound or two.
    const least = heard(service) - 2;
    await consumer.until(() => begun() >= least, 'the events of the pause');
    t.equal(await service.stop(), 0);
  });

  t.test('loses nothing while its disk is full', { skip: cannotMount() }, async (t) => {
    const disk = mountSmallDisk(t, '8m');
    await installToneModel(disk.folder, 'waveform');
    await sound(beep(3, 0.5))(disk.folder);
    const settings = {
      ...looped,
      DATA_DIR: disk.folder,
      AUDIO_FILE: join(disk.folder, 'sound.wav'),
      INFERENCE_RATE_HZ: '10',
      TAGGING_MIN_GAP_SECONDS: '0',
    };
    const { service, console, id } = await start(t, broker.url, settings);
    const consumer = await startConsumer(t, broker.url, `soundpost/${id}`);
    await hears(service, 2);
    disk.fill();
    await hears(service, heard(service) + 3);
    t.match(await console.request('rate/set', { hz: 5 }), { status: /ok|error/ }, 'it answers');
    disk.free();
    await hears(service, heard(service) + 2);
    t.match(await console.request('rate/set', { hz: 10 }), { status: 'ok' });
    t.equal(await service.stop(), 0);
    const of = (type: string) => consumer.events.filter(({ event_type }) => event_type === type);
    // The consumer came after the first sound or two.
    const least = heard(service) - 2;
    await consumer.until(
      () => new Set(of('started').map((event) => event.id)).size >= least,
      'all that was heard',
    );
    const ended = () => new Set(of('ended').map((event) => event.id));
    await consumer.until(() => of('started').every((event) => ended().has(event.id)), 'an end for each');
    t.equal(of('ended').length, ended().size, 'and one only');
  });

  t.test('loses nothing when it is killed', async (t) => {
    const settings = { ...looped, INFERENCE_RATE_HZ: '10', TAGGING_MIN_GAP_SECONDS: '0' };
    let life = await start(t, broker.url, settings, sound(beep(3, 0.5)));
    const consumer = await startConsumer(t, broker.url, `soundpost/${life.id}`);
    let kept = 0;
    const random = seededRandom(t);
    for (let kill = 0; kill < 2; kill += 1) {
      await hears(life.service, 2);
      await delay(random() * 2000);
      life.service.signal('SIGKILL');
      await life.service.exited;
      // The very last one may have been written to the log, and not yet to the disk.
      kept += heard(life.service) - 1;
      life = await life.again();
    }
    await hears(life.service, 1);
    t.equal(await life.service.stop(), 0);
    const begun = () =>
      [...firsts(consumer.events).values()].filter((event) => event.event_type === 'started');
    // The consumer may have missed the first one.
    await consumer.until(() => begun().length >= kept, 'what was heard');
    const ended = () =>
      new Set(consumer.events.filter((event) => event.event_type === 'ended').map((event) => event.id));
    await consumer.until(() => begun().every((event) => ended().has(event.id)), 'an end for each');
    await consumer.until(() => consumer.states.get('status') === 'offline', 'offline');
    t.strictSame(
      [...consumer.states].filter(([topic, text]) => topic.startsWith('label/') && text !== 'OFF'),
      [],
      'nothing stays on',
    );
    t.comment(`${begun().length} sounds, ${kept} certain`);
  });
});
