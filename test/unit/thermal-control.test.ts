import { EventEmitter, once } from 'node:events';
import t from 'tap';
import { silentLogger } from '../../src/common/log.js';
import { loadConfig } from '../../src/config/load.js';
import type { StatePayload } from '../../src/mqtt/contract.js';
import { createState } from '../../src/service/state.js';
import { createThermalControl } from '../../src/service/thermal.js';
import { makeSysFolder } from '../support/sys-folders.js';

/** The state of a service that infers once a second; what the control does not look at is left out. */
const running = {
  rate_hz: 1,
  effective_rate_hz: 1,
  paused: false,
  throttle: { active: false, reason: null },
} as unknown as StatePayload;

t.test('one reading of 110 °C between good ones changes nothing, a second one does', async (t) => {
  const sys = makeSysFolder('pi4');
  t.teardown(() => sys.remove());
  const { config } = loadConfig({ env: { SOUNDPOST_TELEMETRY_SYS_ROOT: sys.sysRoot }, flags: {} });
  const rates: number[] = [];
  const reads = new EventEmitter();
  const state = createState(running, () => undefined);
  const control = createThermalControl({
    config,
    pipeline: {
      setRate: (rateHz: number) => void rates.push(rateHz),
      sources: [
        {
          // Asked for between the reading and what is made of it.
          counters: () => {
            reads.emit('read');
            return { processed: 0, dropped: 0, idle: 0, streamed: 0, begun: 0 };
          },
        },
      ],
    },
    state,
    log: silentLogger,
  });
  t.teardown(() => control.stop());
  sys.setTemperature(61);
  control.start();
  await once(reads, 'read');
  sys.setTemperature(110);
  await once(reads, 'read');
  sys.setTemperature(61);
  await once(reads, 'read');
  t.strictSame(rates, [], 'the rate did not move');
  t.match(state.now, { effective_rate_hz: 1, throttle: { active: false } });

  sys.setTemperature(110);
  await once(reads, 'read');
  t.strictSame(rates, [], 'not yet');
  await once(reads, 'read');
  await new Promise(setImmediate);
  t.strictSame(rates, [0.1], 'confirmed: the floor');
  t.match(state.now, { effective_rate_hz: 0.1, throttle: { active: true, reason: /82 °C/ } });
});
