/** Which thresholds are in force, as a service at a real broker tells it. */
import t from 'tap';
import type { InfoPayload } from '../../src/mqtt/contract.js';
import { skipWithout } from '../support/tools.js';
import { startMosquitto } from '../support/broker.js';
import { breaches, looped, sound, start, stopsCleanly } from '../support/service-rig.js';
import { installToneModel, tone } from '../support/tone-models.js';

t.test(
  'B/info says which thresholds are in force, and why',
  { skip: skipWithout('mosquitto') },
  async (t) => {
    const broker = await startMosquitto();
    t.teardown(() => broker.stop());
    const began = await start(
      t,
      broker.url,
      {
        ...looped,
        TAGGING_LABELS: '["tone 0", "Tome", {"name": "Both", "labels": ["Tone 0", "Tone 1"]}]',
        TAGGING_THRESHOLDS: '{"Both": 0.6}',
      },
      async (dataDir) => {
        await sound(tone(500, 2, 16_000, 0.2))(dataDir);
        await installToneModel(dataDir, 'log_mel', { threshold: 0.35 });
      },
    );
    const { console } = began;
    /** Resolves once `B/info` lists exactly these; rejects with the probe's message where it never does. */
    const told = async (...expected: (string | number | null)[][]) => {
      const wanted = JSON.stringify(expected);
      const fits = ({ thresholds = [] }: InfoPayload) =>
        JSON.stringify(
          thresholds.map(({ label, group, threshold, from }) => [label, group, threshold, from]),
        ) === wanted;
      if (!console.all<InfoPayload>('info').slice(-1).some(fits)) await console.on<InfoPayload>('info', fits);
      t.pass(wanted);
    };
    const group = (threshold: number, from: string) =>
      ['Tone 0', 'Tone 1'].map((label) => [label, 'Both', threshold, from]);

    await told(['Tone 0', null, 0.5, 'default'], ...group(0.6, 'thresholds'));
    await console.request('threshold/set', { value: 0.45 });
    await told(['Tone 0', null, 0.45, 'threshold'], ...group(0.6, 'thresholds'));
    await console.request('threshold/set', { value: 0.7, label: 'TONE 0' });
    await told(['Tone 0', null, 0.7, 'thresholds'], ...group(0.6, 'thresholds'));
    await console.request('threshold/set', { value: null, label: 'both' });
    // What a label of a group has for itself, and what holds for all.
    await told(
      ['Tone 0', null, 0.7, 'thresholds'],
      ['Tone 0', 'Both', 0.7, 'thresholds'],
      ['Tone 1', 'Both', 0.45, 'threshold'],
    );
    await console.request('labels/set', {
      labels: ['Tone 2', { name: 'B', labels: ['Tone 1'], threshold: 0.2 }],
    });
    await told(['Tone 2', null, 0.45, 'threshold'], ['Tone 1', 'B', 0.2, 'group']);
    await console.set('threshold/set', 'model');
    await told(['Tone 2', null, 0.5, 'default'], ['Tone 1', 'B', 0.2, 'group']);
    await console.request('model/set', { id: 'tone-logmel' });
    await told(['Tone 2', null, 0.35, 'model'], ['Tone 1', 'B', 0.2, 'group']);
    await console.request('labels/set', { labels: [] });
    await told();
    t.same(breaches(console), []);
    await stopsCleanly(t, began);
  },
);
