import fc from 'fast-check';
import t from 'tap';
import type { FirmwareFlags } from '../../src/telemetry/thermal-flags.js';
import {
  startThermal,
  stepThermal,
  type ThermalDecision,
  type ThermalInput,
  type ThermalSettings,
} from '../../src/telemetry/thermal.js';
import { readHeat } from '../../src/telemetry/soc.js';
import { makeSysFolder } from '../support/sys-folders.js';

const settings: ThermalSettings = { softLimitC: 75, hardLimitC: 82, minRateHz: 0.1 };
const calm: FirmwareFlags = {
  underVoltage: false,
  frequencyCapped: false,
  throttled: false,
  softTemperatureLimit: false,
};

/** A governor with a clock; `run` steps every 5 s. */
function governor(requestedHz = 1, own: Partial<ThermalSettings> = {}) {
  let state = startThermal(requestedHz, 0);
  let nowMs = 0;
  let input: Omit<ThermalInput, 'nowMs'> = {
    requestedHz,
    temperatureC: 50,
    flags: calm,
    achievedHz: null,
  };
  let decision: ThermalDecision | null = null;
  const step = (part: Partial<typeof input> = {}): ThermalDecision => {
    input = { ...input, ...part };
    const next = stepThermal(state, { nowMs, ...input }, { ...settings, ...own });
    state = next.state;
    decision = next.decision;
    return decision;
  };
  return {
    step,
    filter: () => state.filter,
    /** From now on, for so long; the last decision. */
    run(seconds: number, part: Partial<typeof input> = {}): ThermalDecision {
      for (let at = 0; at < seconds; at += 5) {
        nowMs += 5000;
        step(part);
      }
      return decision!;
    },
    /** Seconds until it is so; NaN after a day. */
    until(isSo: (decision: ThermalDecision) => boolean, part: Partial<typeof input> = {}): number {
      for (let seconds = 0; seconds < 86_400; seconds += 5) {
        nowMs += 5000;
        if (isSo(step(part))) return seconds + 5;
      }
      return NaN;
    },
  };
}

const free = { effectiveHz: 1, throttle: { active: false, reason: null }, cause: null };

t.test('a cool processor is left alone, one at the soft limit is not', (t) => {
  t.match(governor().run(3600), free);
  t.match(governor().run(3600, { temperatureC: 74 }), free, 'just below the limit');
  const hot = governor();
  const seconds = hot.until(({ effectiveHz }) => effectiveHz < 1, { temperatureC: 78 });
  t.ok(seconds <= 60, `lowered after ${seconds} s`);
  const decision = hot.step();
  t.match(decision, { throttle: { active: true }, cause: 'soft_limit' });
  t.match(decision.throttle.reason, '75 °C');
  t.equal(hot.run(3600).effectiveHz, 0.1, 'the floor while it stays too hot');
  t.end();
});

t.test('at the hard limit the floor at once, and back when it has cooled', (t) => {
  const g = governor();
  g.run(600, { temperatureC: 72 });
  t.match(g.run(5, { temperatureC: 82 }), {
    effectiveHz: 0.1,
    cause: 'hard_limit',
    throttle: { active: true },
  });
  t.match(g.step().throttle.reason, '82 °C');
  t.equal(g.run(300, { temperatureC: 74 }).effectiveHz, 0.1, 'it rests');
  g.run(5, { temperatureC: 62 });
  const seconds = g.until(({ effectiveHz }) => effectiveHz === 1, { temperatureC: 50 });
  t.ok(seconds > 60 && seconds < 900, `free after ${seconds} s`);
  t.match(g.step(), free);
  t.equal(governor().step({ temperatureC: 85 }).effectiveHz, 0.1, 'on the very first reading, too');
  t.equal(governor(0.05).step({ temperatureC: 85 }).effectiveHz, 0.05, 'a wish below the floor stays');
  t.end();
});

t.test('cooling down lets the rate rise in steps, none of them a leap', (t) => {
  const g = governor();
  g.run(600, { temperatureC: 82 });
  let before = 0.1;
  let steps = 0;
  g.until(
    ({ effectiveHz }) => {
      if (effectiveHz !== before) steps += 1;
      t.ok(effectiveHz >= before && effectiveHz < before * 1.15, `${before} to ${effectiveHz}`);
      before = effectiveHz;
      return effectiveHz === 1;
    },
    { temperatureC: 45 },
  );
  t.ok(steps > 10);
  t.end();
});

t.test('glitches of the sensor change nothing', (t) => {
  const nonsense = [null, NaN, Infinity, -Infinity, -40, -273, 0, 126, 110, 1000, 65_535];
  for (const temperatureC of nonsense) {
    const g = governor();
    g.run(600, { temperatureC: 60 });
    t.match(g.run(5, { temperatureC }), free, String(temperatureC));
    t.match(g.run(600, { temperatureC: 60 }), free);
  }
  const g = governor();
  g.run(600, { temperatureC: 60 });
  t.match(g.run(5, { temperatureC: 90 }), { doubtful: true, effectiveHz: 1 });
  t.match(g.run(5, { temperatureC: 91 }), { doubtful: false, effectiveHz: 0.1 }, 'a jump that is confirmed');
  t.end();
});

t.test('a sensor that is silent', (t) => {
  const none = governor();
  t.match(none.run(86_400, { temperatureC: null }), { ...free, blind: false }, 'never had one');

  const cool = governor();
  cool.run(600, { temperatureC: 55 });
  t.match(cool.run(7200, { temperatureC: null }), { ...free, blind: true }, 'lost while cool');
  t.equal(cool.run(5, { flags: { ...calm, throttled: true, underVoltage: true } }).effectiveHz, 0.5);

  const hot = governor();
  hot.run(600, { temperatureC: 71 });
  t.match(hot.run(55, { temperatureC: null }), free, 'a minute without is nothing');
  t.match(hot.run(3600), { effectiveHz: 0.1, cause: 'sensor_lost', blind: true }, 'lost while hot');
  t.equal(hot.run(60, { requestedHz: 5 }).effectiveHz, 0.1, 'no wish is followed blindly');
  hot.run(60, { requestedHz: 1 });
  t.not(hot.run(60, { temperatureC: 60 }).cause, 'sensor_lost', 'its return is noticed');
  t.match(hot.run(1800), free);

  const lowered = governor();
  lowered.run(120, { temperatureC: 77 });
  const { effectiveHz } = lowered.step();
  t.ok(lowered.run(600, { temperatureC: null }).effectiveHz < effectiveHz);
  t.end();
});

t.test('without a reading the firmware is the thermometer', (t) => {
  const soft = { ...calm, softTemperatureLimit: true };
  const hot = governor();
  hot.run(600, { temperatureC: 71 });
  hot.run(15, { temperatureC: null, flags: soft });
  t.match(hot.step(), { effectiveHz: 0.75, cause: 'firmware_soft_limit' }, 'a short gap');
  t.match(hot.run(5), { effectiveHz: 0.1, cause: 'firmware_throttled' });
  t.match(hot.run(3600, { flags: calm }), { effectiveHz: 0.1 }, 'and nothing tells that it is over');

  const cool = governor();
  cool.run(600, { temperatureC: 55 });
  cool.run(120, { temperatureC: null });
  t.match(cool.run(5, { flags: soft }), { effectiveHz: 0.1, cause: 'firmware_throttled', blind: true });
  t.equal(cool.run(600, { flags: calm }).effectiveHz, 0.1, 'it rests, or it would swing with the flag');
  t.match(cool.run(600), free, 'it was cool: only the flags tell');

  const { underVoltage } = calm;
  const untold = { underVoltage, frequencyCapped: null, throttled: null, softTemperatureLimit: null };
  const cases: [string, FirmwareFlags | null, Partial<ThermalSettings>][] = [
    ['no flags', null, {}],
    ['the under-voltage alarm alone', untold, {}],
    ['a hard limit that comes before the firmware’s', calm, { softLimitC: 70, hardLimitC: 78 }],
  ];
  for (const [name, flags, own] of cases) {
    const g = governor(1, own);
    g.run(600, { temperatureC: 68, flags });
    t.match(g.run(15, { temperatureC: null }), free, name);
    const { effectiveHz } = g.run(45);
    t.ok(effectiveHz > 0.3 && effectiveHz < 0.6, `${name}: ${effectiveHz} Hz after a minute`);
    t.equal(g.run(120).effectiveHz, 0.1, `${name}: the floor`);
  }
  t.end();
});

t.test('a short under-voltage after the sensor was lost while cool', (t) => {
  const g = governor();
  g.run(600, { temperatureC: 55 });
  g.run(120, { temperatureC: null });
  t.match(g.run(5, { flags: { ...calm, underVoltage: true } }), { effectiveHz: 0.5, cause: 'under_voltage' });
  t.match(g.run(3600, { flags: calm }), { ...free, blind: true }, 'it is over, as with a sensor');
  t.end();
});

t.test('what is too low to be true', (t) => {
  for (const wrong of [0, 50]) {
    const g = governor();
    g.run(3600, { temperatureC: 71 });
    t.match(g.run(5, { temperatureC: wrong }), { doubtful: true, effectiveHz: 1 });
    t.match(g.run(50), { doubtful: false, blind: false }, 'one look soon, then the usual pace');
    t.match(g.run(595), { blind: true, cause: 'sensor_lost' }, `${wrong} °C after 71 is not cooling`);
    t.ok(g.step().effectiveHz < 0.6, 'it sinks as without a sensor');
    t.not(g.run(60, { temperatureC: 68 }).cause, 'sensor_lost', 'back to sense');
    t.match(g.run(3600, { temperatureC: 60 }), free);
    g.run(1800, { temperatureC: wrong });
    t.match(g.step(), { ...free, blind: false }, 'believed in the end: no sensor is wrong for ever');
  }

  const shifted = governor();
  shifted.run(3600, { temperatureC: 71 });
  for (let celsius = 51; celsius < 68; celsius += 1) shifted.run(10, { temperatureC: celsius });
  t.match(shifted.step(), { blind: true }, 'what is wrong and rises stays wrong');

  const high = governor();
  high.run(3600, { temperatureC: 55 });
  t.equal(high.run(10, { temperatureC: 85 }).effectiveHz, 0.1, 'wrong for 10 s, upwards');
  t.equal(high.run(55, { temperatureC: 55 }).effectiveHz, 0.1);
  t.match(high.run(600), free, 'what lasted for seconds is contradicted within a minute or so');

  const swings = governor();
  swings.run(3600, { temperatureC: 71 });
  swings.run(300, { temperatureC: 0 });
  t.match(swings.run(10, { temperatureC: 45 }), { blind: false }, 'another jump: what was between is void');
  t.end();
});

t.test('the filter goes on over what was not believed', (t) => {
  const g = governor();
  g.run(1000, { temperatureC: 70 });
  g.run(5, { temperatureC: 110 });
  g.run(5, { temperatureC: 71 });
  const { fast, slow } = g.filter()!;
  // 10 s after the reading before.
  t.ok(Math.abs(fast - (71 - Math.exp(-10 / 20))) < 1e-9, `fast ${fast} °C`);
  t.ok(Math.abs(slow - (71 - Math.exp(-10 / 60))) < 1e-9, `slow ${slow} °C`);
  g.run(10, { temperatureC: 88 });
  t.same(g.filter(), { fast: 88, slow: 88 }, 'a jump that is confirmed is followed at once');
  t.end();
});

t.test('the flags of the firmware', (t) => {
  const cases: [Partial<FirmwareFlags>, Partial<ThermalInput>, object][] = [
    [{ underVoltage: true }, {}, { effectiveHz: 0.5, cause: 'under_voltage' }],
    [{ frequencyCapped: true }, {}, { effectiveHz: 0.5, cause: 'frequency_capped' }],
    [{ throttled: true }, {}, { effectiveHz: 0.5, cause: 'frequency_capped' }],
    [{ softTemperatureLimit: true }, {}, { effectiveHz: 0.75, cause: 'firmware_soft_limit' }],
    [{ throttled: true, underVoltage: true }, { temperatureC: null }, { cause: 'under_voltage' }],
  ];
  for (const [flags, input, expected] of cases) {
    const name = Object.keys(flags).join(' and ');
    const g = governor();
    g.run(60, { temperatureC: 55, ...input });
    t.match(g.run(5, { flags: { ...calm, ...flags } }), { ...expected, throttle: { active: true } }, name);
    t.match(g.run(3600), expected, `${name}: it stays and gets no worse`);
    t.match(g.run(240, { flags: calm }), expected, `${name}: a while after it has gone, too`);
    t.match(g.run(600), free, `${name}: and then it is over`);
  }
  for (const temperatureC of [70, null]) {
    const g = governor();
    g.run(60, { temperatureC });
    t.match(
      g.run(120, { flags: { ...calm, throttled: true } }),
      { cause: 'firmware_throttled', throttle: { active: true } },
      `throttled at ${temperatureC} °C`,
    );
    t.equal(g.run(3600).effectiveHz, 0.1, 'heat: down to the floor while it lasts');
    t.match(g.run(3600, { flags: calm, temperatureC: temperatureC === null ? null : 50 }), free);
  }
  t.match(governor().run(3600, { flags: null }), free, 'a machine without flags');
  t.equal(governor(0.1).run(60, { flags: { ...calm, underVoltage: true } }).effectiveHz, 0.1);
  t.end();
});

t.test('a wish while the rate is lowered', (t) => {
  const g = governor();
  g.run(240, { temperatureC: 76.5 });
  const { effectiveHz } = g.run(120, { temperatureC: 74.8 });
  t.ok(effectiveHz < 1 && effectiveHz > 0.1, `${effectiveHz} Hz`);
  t.match(
    g.step({ requestedHz: 5 }),
    { effectiveHz, throttle: { active: true } },
    'higher: the heat is the same',
  );
  t.match(
    g.step({ requestedHz: 0.05 }),
    { effectiveHz: 0.05, throttle: { active: false, reason: null } },
    'lower: at once',
  );
  t.ok(g.step({ requestedHz: 1 }).effectiveHz < 0.2, 'and back is no way around the heat');

  const calmGovernor = governor();
  calmGovernor.run(600);
  t.equal(calmGovernor.step({ requestedHz: 20 }).effectiveHz, 20, 'cool: at once');
  t.equal(calmGovernor.step({ requestedHz: 0.01 }).effectiveHz, 0.01);
  t.equal(calmGovernor.step({ requestedHz: 2 }).effectiveHz, 2);
  t.end();
});

t.test('a rate that the machine does not reach is no place to slow down from', (t) => {
  const slow = governor(20).run(30, { temperatureC: 77, achievedHz: 2 });
  t.ok(slow.effectiveHz <= 2, `${slow.effectiveHz} Hz`);
  t.equal(governor(20).run(600, { temperatureC: 60, achievedHz: 2 }).effectiveHz, 20, 'cool: no matter');
  t.end();
});

t.test('whatever comes, the rate is one that may be', (t) => {
  const hz = fc.double({ min: 0.01, max: 20, noNaN: true });
  const celsius = fc.oneof(
    fc.double({ min: 20, max: 100, noNaN: true }),
    fc.constantFrom(null, NaN, -40, 0, 126, 1000, Infinity),
    fc.double(),
  );
  const step = fc.record({
    dtMs: fc.oneof(fc.constant(5000), fc.integer({ min: -10_000, max: 10_000_000 })),
    requestedHz: fc.option(hz, { freq: 5 }),
    temperatureC: celsius,
    flags: fc.option(
      fc.record({
        underVoltage: fc.boolean(),
        frequencyCapped: fc.boolean(),
        throttled: fc.boolean(),
        softTemperatureLimit: fc.boolean(),
      }),
    ),
    achievedHz: fc.option(fc.double({ min: 0, max: 20, noNaN: true })),
  });
  fc.assert(
    fc.property(
      fc.record({
        first: hz,
        minRateHz: hz,
        softLimitC: fc.double({ min: 30, max: 119, noNaN: true }),
        bandC: fc.double({ min: 0.001, max: 50, noNaN: true }),
        steps: fc.array(step, { minLength: 1, maxLength: 60 }),
      }),
      ({ first, minRateHz, softLimitC, bandC, steps }) => {
        const own = { minRateHz, softLimitC, hardLimitC: softLimitC + bandC };
        let state = startThermal(first, 0);
        let requestedHz = first;
        let nowMs = 0;
        for (const one of steps) {
          requestedHz = one.requestedHz ?? requestedHz;
          nowMs += one.dtMs;
          const believed = state.reading.last;
          const next = stepThermal(state, { ...one, nowMs, requestedHz }, own);
          state = next.state;
          const { effectiveHz, throttle, cause } = next.decision;
          const floorHz = Math.min(minRateHz, requestedHz);
          const at = JSON.stringify({ one, requestedHz, effectiveHz });
          if (!(effectiveHz <= requestedHz)) throw new Error(`above the wish: ${at}`);
          if (!(effectiveHz >= floorHz)) throw new Error(`below the floor: ${at}`);
          if (throttle.active !== effectiveHz < requestedHz) throw new Error(`active is wrong: ${at}`);
          if ((throttle.reason !== null) !== throttle.active) throw new Error(`a reason is wrong: ${at}`);
          if ((cause !== null) !== throttle.active) throw new Error(`a cause is wrong: ${at}`);
          const celsiusNow = one.temperatureC ?? NaN;
          const plain = believed === null || Math.abs(celsiusNow - believed.celsius) <= 15;
          if (celsiusNow >= own.hardLimitC && celsiusNow <= 125 && plain && effectiveHz !== floorHz) {
            throw new Error(`not at the floor: ${at}`);
          }
          const numbers = [state.integral, state.command, state.applied, state.requested, state.lastMs];
          if (!numbers.every(Number.isFinite)) throw new Error(`not a number: ${JSON.stringify(state)}`);
        }
      },
    ),
    { numRuns: 500 },
  );
  t.end();
});

t.test('heat is read from the machine', async (t) => {
  const flags = { ...calm, frequencyCapped: true, throttled: true };
  for (const machine of ['pi3', 'pi4', 'pi5'] as const) {
    const folder = makeSysFolder(machine);
    folder.setTemperature(81.3);
    folder.setThrottled('60006');
    t.match(await readHeat(folder), { temperatureC: 81.3, flags }, machine);
    folder.setThrottled('0');
    t.match(await readHeat(folder), { temperatureC: 81.3, flags: calm }, machine);
    folder.remove();
  }
  const folder = makeSysFolder('pi4');
  folder.delete('sys/devices/platform/soc/soc:firmware/get_throttled');
  folder.write('sys/class/hwmon/hwmon1/in0_lcrit_alarm', '1\n');
  const untold = { frequencyCapped: null, throttled: null, softTemperatureLimit: null };
  t.same(
    (await readHeat(folder)).flags,
    { ...untold, underVoltage: true },
    'the alarm in place of the flags',
  );
  folder.remove();
  t.same(await readHeat({ sysRoot: '/nonexistent' }), { temperatureC: null, flags: null });
});
