import { join } from 'node:path';
import { listSystemFolder, parseWhole, readSystemFile } from './system-file.js';
import type { FirmwareFlags } from './thermal-flags.js';

/** `soc` of `B/telemetry`. What the machine does not have, or does not tell sensibly, is null. */
export interface SocReading {
  temperature_c: number | null;
  frequency_mhz: number | null;
  /** The firmware slows the cores down now. */
  throttled: boolean | null;
  under_voltage: boolean | null;
  throttled_since_boot: boolean | null;
}

/** The bits of the firmware's `get_throttled`. */
export interface ThrottleFlags extends FirmwareFlags {
  frequencyCapped: boolean;
  throttled: boolean;
  softTemperatureLimit: boolean;
  underVoltageSinceBoot: boolean;
  frequencyCappedSinceBoot: boolean;
  throttledSinceBoot: boolean;
  softTemperatureLimitSinceBoot: boolean;
}

/**
 * Types of thermal zones that measure the chip with the cores; everything else (`acpitz`, Wi-Fi, batteries) does
 * not. Raspberry Pi: `cpu-thermal` (the name in the device trees bcm283x.dtsi, bcm2711.dtsi and bcm2712.dtsi),
 * `cpu_thermal` and `bcm2835_thermal` on older kernels; other boards `soc-thermal`; Intel `x86_pkg_temp`.
 */
const coreZones = new Set(['cpu_thermal', 'soc_thermal', 'bcm2835_thermal', 'x86_pkg_temp']);

/**
 * Reads the chip's temperature (the hottest of its zones), clock and throttle flags. Never throws and never
 * blocks: what is absent, empty, not a number or absurd (outside −40 … 150 °C) is null, and so is what does not
 * answer within half a second.
 *
 * Without `get_throttled` (kernels that are not Raspberry Pi's own) the under-voltage alarm of the driver
 * raspberrypi-hwmon remains: hwmon device `rpi_volt`, file `in0_lcrit_alarm`.
 */
export async function readSoc(options: { sysRoot: string }): Promise<SocReading> {
  const { sysRoot } = options;
  const temperature = await readTemperature(sysRoot);
  const frequency = await readFrequency(sysRoot);
  const flags = await readThrottleFlags(sysRoot);
  return {
    temperature_c: temperature,
    frequency_mhz: frequency,
    throttled: flags?.throttled ?? null,
    under_voltage: flags?.underVoltage ?? (await readUnderVoltageAlarm(sysRoot)),
    throttled_since_boot: flags?.throttledSinceBoot ?? null,
  };
}

/**
 * What the thermal governor looks at, read the same way: the temperature, and the firmware's flags or, where there
 * are none, the under-voltage alarm alone.
 */
export async function readHeat(options: {
  sysRoot: string;
}): Promise<{ temperatureC: number | null; flags: FirmwareFlags | null }> {
  const { sysRoot } = options;
  const temperatureC = await readTemperature(sysRoot);
  const flags = await readThrottleFlags(sysRoot);
  const underVoltage = flags === null ? await readUnderVoltageAlarm(sysRoot) : null;
  const untold = { frequencyCapped: null, throttled: null, softTemperatureLimit: null };
  return { temperatureC, flags: flags ?? (underVoltage === null ? null : { ...untold, underVoltage }) };
}

/**
 * The value of `get_throttled`: hexadecimal, written without 0x by the kernel (`sprintf "%x\n"` in
 * drivers/firmware/raspberrypi.c) and with it by the firmware's own tools. Bits as documented for
 * `vcgencmd get_throttled`: 0 under-voltage, 1 frequency capped, 2 throttled, 3 soft temperature limit, 16–19 the
 * same since boot. Null for anything that is not such a number.
 */
export function parseThrottled(text: string | null): ThrottleFlags | null {
  const match = /^(?:0x)?([0-9a-f]{1,8})$/i.exec(text?.trim() ?? '');
  if (!match) return null;
  const value = parseInt(match[1]!, 16);
  const bit = (position: number) => ((value >>> position) & 1) === 1;
  return {
    underVoltage: bit(0),
    frequencyCapped: bit(1),
    throttled: bit(2),
    softTemperatureLimit: bit(3),
    underVoltageSinceBoot: bit(16),
    frequencyCappedSinceBoot: bit(17),
    throttledSinceBoot: bit(18),
    softTemperatureLimitSinceBoot: bit(19),
  };
}

/** Degrees Celsius of the hottest zone, from the millidegrees in `thermal_zone*`. */
async function readTemperature(sysRoot: string): Promise<number | null> {
  const folder = join(sysRoot, 'class/thermal');
  let hottest: number | null = null;
  for (const zone of await listSystemFolder(folder)) {
    if (!zone.startsWith('thermal_zone')) continue;
    const type = (await readSystemFile(join(folder, zone, 'type')))?.trim() ?? '';
    if (!coreZones.has(type.replaceAll('-', '_'))) continue;
    const millidegrees = parseWhole(await readSystemFile(join(folder, zone, 'temp')));
    if (millidegrees === null || millidegrees < -40_000 || millidegrees > 150_000) continue;
    hottest = Math.max(hottest ?? -Infinity, millidegrees / 1000);
  }
  return hottest;
}

/** MHz of the first core, from kHz. What the governor asks for: the firmware may clock lower (throttled). */
async function readFrequency(sysRoot: string): Promise<number | null> {
  const path = join(sysRoot, 'devices/system/cpu/cpu0/cpufreq/scaling_cur_freq');
  const kilohertz = parseWhole(await readSystemFile(path));
  return kilohertz !== null && kilohertz > 0 && kilohertz < 20e6 ? Math.round(kilohertz / 1000) : null;
}

/**
 * The firmware's device is named after its place in the device tree: `soc/soc:firmware` on a Raspberry Pi 3 and 4,
 * `soc@107c000000/soc@107c000000:firmware` on a 5 (node `soc@107c000000` in bcm2712.dtsi; the kernel logs the device
 * under that name). So the bus is looked for, and its address not relied on.
 */
async function readThrottleFlags(sysRoot: string): Promise<ThrottleFlags | null> {
  const platform = join(sysRoot, 'devices/platform');
  for (const bus of await listSystemFolder(platform)) {
    if (!/^(soc|axi)(@|$)/.test(bus)) continue;
    const text = await readSystemFile(join(platform, bus, `${bus}:firmware`, 'get_throttled'));
    const flags = parseThrottled(text);
    if (flags) return flags;
  }
  return null;
}

async function readUnderVoltageAlarm(sysRoot: string): Promise<boolean | null> {
  const folder = join(sysRoot, 'class/hwmon');
  for (const device of await listSystemFolder(folder)) {
    if ((await readSystemFile(join(folder, device, 'name')))?.trim() !== 'rpi_volt') continue;
    const alarm = parseWhole(await readSystemFile(join(folder, device, 'in0_lcrit_alarm')));
    if (alarm === 0 || alarm === 1) return alarm === 1;
  }
  return null;
}
