import { execFileSync } from 'node:child_process';
import { closeSync, constants, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { readBoard } from '../../src/telemetry/board.js';
import { startEventLoopMonitor } from '../../src/telemetry/event-loop.js';
import { createHostReader } from '../../src/telemetry/host.js';
import { createLatencyRecorder } from '../../src/telemetry/latency.js';
import { createRateMeter } from '../../src/telemetry/rate.js';
import { parseThrottled, readSoc } from '../../src/telemetry/soc.js';
import { makeSysFolder, type Machine } from '../support/sys-folders.js';
import { until } from '../support/waiting.js';

const nothing = {
  temperature_c: null,
  frequency_mhz: null,
  throttled: null,
  under_voltage: null,
  throttled_since_boot: null,
};
const calm = { throttled: false, under_voltage: false, throttled_since_boot: false };

t.test('the SoC of each machine is read from where it is', async (t) => {
  const expected: Record<Machine, object> = {
    pi3: { temperature_c: 51.54, frequency_mhz: 1400, ...calm },
    pi4: { temperature_c: 61.245, frequency_mhz: 1800, ...calm },
    pi5: { temperature_c: 58.75, frequency_mhz: 2400, ...calm },
    'pc-without-sensors': nothing,
    'pc-intel': { ...nothing, temperature_c: 44, frequency_mhz: 3601 },
  };
  for (const machine of Object.keys(expected) as Machine[]) {
    const folder = makeSysFolder(machine);
    t.same(await readSoc(folder), expected[machine], machine);
    folder.remove();
  }
  t.same(await readSoc({ sysRoot: '/nonexistent' }), nothing, 'no /sys at all');
});

t.test('the board is named', async (t) => {
  const names = {
    pi4: 'Raspberry Pi 4 Model B Rev 1.4',
    'pc-intel': 'OptiPlex 7050',
    'pc-without-sensors': null,
  };
  for (const [machine, model] of Object.entries(names)) {
    const folder = makeSysFolder(machine as Machine);
    t.same(await readBoard(folder), { model }, machine);
    folder.remove();
  }
  const folder = makeSysFolder('pi5', { 'proc/device-tree': null });
  t.same(await readBoard(folder), { model: 'Raspberry Pi 5 Model B Rev 1.0' }, 'without /proc/device-tree');
  folder.remove();
});

t.test('readings follow the machine', async (t) => {
  for (const machine of ['pi3', 'pi4', 'pi5'] as const) {
    const folder = makeSysFolder(machine);
    folder.setTemperature(81.3);
    folder.setFrequency(600);
    folder.setThrottled('50005');
    t.same(
      await readSoc(folder),
      {
        temperature_c: 81.3,
        frequency_mhz: 600,
        throttled: true,
        under_voltage: true,
        throttled_since_boot: true,
      },
      machine,
    );
    folder.setTemperature(0);
    folder.setThrottled('40000');
    t.same(
      await readSoc(folder),
      {
        temperature_c: 0,
        frequency_mhz: 600,
        throttled: false,
        under_voltage: false,
        throttled_since_boot: true,
      },
      'zero degrees are a reading',
    );
    folder.remove();
  }
});

t.test('the hottest zone counts, a broken one does not', async (t) => {
  const folder = makeSysFolder('pi4', {
    'sys/class/thermal/thermal_zone1/type': 'soc_thermal\n',
    'sys/class/thermal/thermal_zone1/temp': '70125\n',
    'sys/class/thermal/thermal_zone2/type': 'cpu_thermal\n',
    'sys/class/thermal/thermal_zone2/temp': '999999\n',
    'sys/class/thermal/thermal_zone3/type': 'battery\n',
    'sys/class/thermal/thermal_zone3/temp': '90000\n',
    'sys/class/thermal/thermal_zone4/type': 'cpu_thermal\n',
    'sys/class/thermal/thermal_zone4/temp': '30000\n',
  });
  t.equal((await readSoc(folder)).temperature_c, 70.125);
  folder.remove();
});

t.test('what is no reading is null', async (t) => {
  for (const text of ['', '\n', 'abc', '45.5', '0x20', '1e4', 'NaN', '-40001', '150001', '5\n6', ' ']) {
    const folder = makeSysFolder('pi4');
    folder.write('sys/class/thermal/thermal_zone0/temp', text);
    t.equal((await readSoc(folder)).temperature_c, null, `temperature ${JSON.stringify(text)}`);
    folder.remove();
  }
  for (const text of ['', '0', '-1', '<unknown>', '99999999999']) {
    const folder = makeSysFolder('pi4');
    folder.write('sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq', text);
    t.equal((await readSoc(folder)).frequency_mhz, null, `frequency ${JSON.stringify(text)}`);
    folder.remove();
  }
  const folder = makeSysFolder('pi4', {
    'sys/class/thermal/thermal_zone0/type': null,
    'sys/devices/system/cpu/cpu0/cpufreq': null,
    'sys/devices/platform/soc/soc:firmware/get_throttled': 'throttled',
    'sys/class/hwmon': null,
  });
  t.same(await readSoc(folder), nothing, 'files that are absent or folders');
  folder.remove();
});

t.test('without get_throttled the under-voltage alarm remains', async (t) => {
  const folder = makeSysFolder('pi5');
  folder.delete('sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled');
  folder.write('sys/class/hwmon/hwmon3/in0_lcrit_alarm', '1\n');
  t.match(await readSoc(folder), { under_voltage: true, throttled: null, throttled_since_boot: null });
  folder.remove();
});

t.test('the throttle flags', (t) => {
  const names = [
    [0, 'underVoltage'],
    [1, 'frequencyCapped'],
    [2, 'throttled'],
    [3, 'softTemperatureLimit'],
    [16, 'underVoltageSinceBoot'],
    [17, 'frequencyCappedSinceBoot'],
    [18, 'throttledSinceBoot'],
    [19, 'softTemperatureLimitSinceBoot'],
  ] as const;
  fc.assert(
    fc.property(
      fc.nat({ max: 0xffffffff }),
      fc.constantFrom('', '0x', '0X'),
      fc.boolean(),
      (value, prefix, upper) => {
        const digits = value.toString(16);
        const flags = parseThrottled(`${prefix}${upper ? digits.toUpperCase() : digits}\n`);
        return names.every(([bit, name]) => flags?.[name] === (Math.floor(value / 2 ** bit) % 2 === 1));
      },
    ),
  );
  fc.assert(
    fc.property(fc.string(), (text) => {
      if (/^(0x)?[0-9a-f]{1,8}$/i.test(text.trim())) return true;
      return parseThrottled(text) === null;
    }),
  );
  for (const text of [null, '', '\n', '0x', 'throttled=0x0', '-1', '0x123456789', '1 2']) {
    t.equal(parseThrottled(text), null, String(text));
  }
  t.end();
});

t.test('a sensor that never answers is null and blocks nothing', async (t) => {
  const folder = makeSysFolder('pi4');
  const sensor = join(folder.sysRoot, 'class/thermal/thermal_zone0/temp');
  rmSync(sensor);
  // Opening a FIFO for reading hangs in the kernel until somebody opens it for writing.
  execFileSync('mkfifo', [sensor]);
  const first = await readSoc(folder);
  t.match(first, { temperature_c: null, frequency_mhz: 1800, throttled: false });
  const again = await Promise.all(Array.from({ length: 8 }, () => readSoc(folder)));
  for (const reading of again) t.same(reading, first, 'it is not asked again while it hangs');
  closeSync(openSync(sensor, constants.O_RDWR));
  folder.delete('sys/class/thermal/thermal_zone0/temp');
  folder.setTemperature(48);
  // The hanging read ends on its own time once the FIFO was opened; the sensor is read again after that.
  let temperature: number | null = null;
  await until(
    async () => (temperature = (await readSoc(folder)).temperature_c) !== null,
    'a reading of the sensor that answers again',
    30,
    1,
  );
  t.equal(temperature, 48, 'it is read again when it answers');
  folder.remove();
});

t.test('the host', async (t) => {
  const folder = makeSysFolder('pi4', {
    'proc/101/status': 'Name:\tnode\nVmPeak:\t  900000 kB\nVmRSS:\t  102400 kB\nThreads:\t11\n',
    'proc/102/status': 'Name:\tnode\nVmRSS:\t   51200 kB\n',
  });
  const reader = createHostReader({ procRoot: folder.procRoot, dataDir: tmpdir() });
  const first = await reader.read([101, 102, 103]);
  t.match(first, { cpu_percent: null, load_1m: 0.2, memory_rss_mb: 150, memory_available_mb: 2900 });
  t.ok(first.disk_free_mb !== null && first.disk_free_mb > 0, 'a real disk');
  // 100 ticks more: 20 user, 5 system, 70 idle, 5 waiting for a disk; the guest's 9 are in user already.
  folder.write('proc/stat', 'cpu  1020 0 505 8070 505 0 0 0 9 0\n');
  t.equal((await reader.read([])).cpu_percent, 25);
  t.equal((await reader.read([])).cpu_percent, null, 'no time has passed');
  folder.write('proc/stat', 'cpu  1 0 5 80 5 0 0 0 9 0\n');
  t.equal((await reader.read([])).cpu_percent, null, 'the counters began again');
  folder.remove();
  const gone = createHostReader({ procRoot: folder.procRoot, dataDir: folder.procRoot });
  t.same(await gone.read([101]), {
    cpu_percent: null,
    load_1m: null,
    memory_rss_mb: null,
    memory_available_mb: null,
    disk_free_mb: null,
  });
});

t.test('the host of this very machine', { skip: process.platform !== 'linux' && 'Linux only' }, async (t) => {
  const reader = createHostReader({ procRoot: '/proc', dataDir: '.' });
  const reading = await reader.read([process.pid]);
  const rss = process.memoryUsage.rss() / 2 ** 20;
  t.ok(
    reading.memory_rss_mb !== null && Math.abs(reading.memory_rss_mb - rss) < 0.2 * rss,
    'resident memory',
  );
  t.type(reading.load_1m, 'number');
  t.type(reading.memory_available_mb, 'number');
});

t.test('latency', (t) => {
  const recorder = createLatencyRecorder();
  const empty = {
    count: 0,
    mean: null,
    p50: null,
    p95: null,
    p99: null,
    max: null,
    features_p50: null,
    inference_p50: null,
    queue_p50: null,
    publish_p50: null,
  };
  t.same(recorder.snapshotAndReset(), empty, 'nothing measured is not 0');
  for (let step = 1; step <= 100; step += 1) {
    recorder.record({ total: step / 10, queue: 0, features: 0.001, inference: step / 20, publish: 0.25 });
  }
  t.same(recorder.snapshotAndReset(), {
    count: 100,
    mean: 5.05,
    p50: 5.003,
    p95: 9.503,
    p99: 9.903,
    max: 10,
    features_p50: 0.001,
    inference_p50: 2.501,
    queue_p50: 0,
    publish_p50: 0.25,
  });
  t.same(recorder.snapshotAndReset(), empty, 'an interval of its own');
  recorder.record({ total: -3, queue: NaN, features: Infinity, inference: 1e12, publish: -0 });
  t.match(recorder.snapshotAndReset(), {
    count: 1,
    max: 0,
    p50: 0,
    queue_p50: null,
    features_p50: 600_000,
    inference_p50: 600_000,
    publish_p50: 0,
  });
  t.end();
});

t.test('latency: percentiles are within a thousandth of the true ones', (t) => {
  const recorder = createLatencyRecorder();
  fc.assert(
    fc.property(fc.array(fc.double({ min: 0, max: 60_000, noNaN: true }), { minLength: 1 }), (totals) => {
      for (const total of totals) recorder.record({ total, queue: 0, features: 0, inference: 0, publish: 0 });
      const summary = recorder.snapshotAndReset();
      const sorted = totals.toSorted((a, b) => a - b);
      const near = (percent: number, value: number | null) => {
        const rank = Math.max(1, Math.ceil((percent / 100) * sorted.length));
        const truth = sorted[rank - 1]!;
        return value !== null && Math.abs(value - truth) <= truth * 0.001 + 0.001;
      };
      return (
        summary.count === totals.length &&
        near(50, summary.p50) &&
        near(95, summary.p95) &&
        near(99, summary.p99) &&
        near(100, summary.max)
      );
    }),
    { numRuns: 50 },
  );
  t.end();
});

t.test('the measured rate', (t) => {
  const meter = createRateMeter();
  t.equal(meter.measure(0), null, 'nothing seen yet');
  meter.window(100);
  t.equal(meter.measure(500), null, 'one window makes no rate');
  for (let at = 1100; at <= 30_100; at += 1000) meter.window(at);
  t.equal(meter.measure(30_500), 1, 'exact, wherever the interval falls');
  meter.window(31_100);
  meter.window(32_100);
  t.equal(meter.measure(32_500), 1);
  t.equal(meter.measure(33_000), 1, 'an empty interval shorter than the hop says nothing');
  t.equal(meter.measure(42_100), 0.1, 'a silence does');
  meter.reset();
  t.equal(meter.measure(50_000), null, 'a pause is forgotten');

  const slow = createRateMeter();
  const rates: (number | null)[] = [];
  for (let at = 0; at <= 600_000; at += 10_000) {
    if (at % 100_000 === 0) slow.window(at);
    if (at % 30_000 === 0) rates.push(slow.measure(at));
  }
  t.same([...new Set(rates)], [null, 0.01], '0.01 Hz, measured every 30 s');
  t.end();
});

t.test('the event loop is watched', async (t) => {
  const monitor = startEventLoopMonitor();
  t.same(monitor.snapshotAndReset(), { p50: null, p99: null, max: null }, 'nothing measured yet');
  const soon = () => new Promise((resolve) => setTimeout(resolve, 50));
  await soon();
  const heldUpUntil = performance.now() + 200;
  while (performance.now() < heldUpUntil);
  await soon();
  const delay = monitor.snapshotAndReset();
  monitor.stop();
  t.ok(delay.max !== null && delay.max > 150, 'a loop that was held up for 200 ms was late');
});
