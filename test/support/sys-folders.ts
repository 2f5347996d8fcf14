import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';

export type Machine = 'pi3' | 'pi4' | 'pi5' | 'pc-without-sensors' | 'pc-intel';

/** Folders laid out like /sys and /proc of a machine, with readings that can be set. */
export interface SysFolder {
  sysRoot: string;
  procRoot: string;
  /** Of the chip; nothing happens on a machine without a sensor. */
  setTemperature(celsius: number): void;
  setFrequency(megahertz: number): void;
  /** As the kernel writes it: hexadecimal without 0x. */
  setThrottled(hex: string): void;
  /** Writes or overwrites a file below the folder: `sys/…` or `proc/…`. */
  write(path: string, text: string): void;
  /** Takes a file or folder away: `sys/…` or `proc/…`. */
  delete(path: string): void;
  remove(): void;
}

interface Layout {
  model: string | null;
  zones: { type: string; celsius: number }[];
  /** The zone that `setTemperature` sets. */
  coreZone: number | null;
  megahertz: number | null;
  /** The bus of the firmware's device, where there is one. */
  firmwareBus: string | null;
  hwmon: Record<string, string>[];
}

const piVolt = { name: 'rpi_volt', in0_lcrit_alarm: '0' };

/**
 * Zones and places after the device trees bcm2837-rpi-3-b-plus.dts, bcm2711-rpi-4-b.dts and bcm2712-rpi-5-b.dts
 * and the drivers bcm2835_thermal, bcm2711_thermal and raspberrypi-hwmon of Raspberry Pi's kernels 6.x (the
 * Pi 3's zone has its name from the 4.x kernels); the PCs after ACPI and Intel's driver x86_pkg_temp_thermal.
 */
const layouts: Record<Machine, Layout> = {
  pi3: {
    model: 'Raspberry Pi 3 Model B Plus Rev 1.3',
    zones: [{ type: 'cpu_thermal', celsius: 51.54 }],
    coreZone: 0,
    megahertz: 1400,
    firmwareBus: 'soc',
    hwmon: [{ name: 'cpu_thermal', temp1_input: '51540' }, piVolt],
  },
  pi4: {
    model: 'Raspberry Pi 4 Model B Rev 1.4',
    zones: [{ type: 'cpu-thermal', celsius: 61.245 }],
    coreZone: 0,
    megahertz: 1800,
    firmwareBus: 'soc',
    hwmon: [{ name: 'cpu_thermal', temp1_input: '61245' }, piVolt],
  },
  pi5: {
    model: 'Raspberry Pi 5 Model B Rev 1.0',
    zones: [{ type: 'cpu-thermal', celsius: 58.75 }],
    coreZone: 0,
    megahertz: 2400,
    firmwareBus: 'soc@107c000000',
    hwmon: [
      { name: 'cpu_thermal', temp1_input: '58750' },
      { name: 'rp1_adc', in1_input: '1478', temp1_input: '50870' },
      { name: 'pwmfan', fan1_input: '3054' },
      piVolt,
    ],
  },
  'pc-without-sensors': {
    model: null,
    zones: [],
    coreZone: null,
    megahertz: null,
    firmwareBus: null,
    hwmon: [],
  },
  'pc-intel': {
    model: null,
    zones: [
      { type: 'acpitz', celsius: 97.8 },
      { type: 'x86_pkg_temp', celsius: 44 },
      { type: 'iwlwifi_1', celsius: 99 },
    ],
    coreZone: 1,
    megahertz: 3601,
    firmwareBus: null,
    hwmon: [{ name: 'coretemp', temp1_input: '44000', temp1_crit_alarm: '1', in0_lcrit_alarm: '1' }],
  },
};

/** Makes the folders in a temporary directory; `overrides` replace files (`sys/…`, `proc/…`), null takes one away. */
export function makeSysFolder(
  machine: Machine,
  overrides: Readonly<Record<string, string | null>> = {},
): SysFolder {
  const layout = layouts[machine];
  const root = mkdtempSync(join(tmpdir(), `soundpost-${machine}-`));
  const write = (path: string, text: string) => {
    const file = join(root, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
  };
  /** /sys/class is made of links to the devices. */
  const link = (from: string, to: string) => {
    const place = join(root, from);
    mkdirSync(dirname(place), { recursive: true });
    symlinkSync(relative(dirname(place), join(root, to)), place);
  };
  const zonePath = (zone: number) => `sys/devices/virtual/thermal/thermal_zone${zone}`;
  const frequencyPath = 'sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq';
  const firmware =
    layout.firmwareBus && `sys/devices/platform/${layout.firmwareBus}/${layout.firmwareBus}:firmware`;

  const folder: SysFolder = {
    sysRoot: join(root, 'sys'),
    procRoot: join(root, 'proc'),
    setTemperature(celsius) {
      if (layout.coreZone === null) return;
      write(`${zonePath(layout.coreZone)}/temp`, `${Math.round(celsius * 1000)}\n`);
    },
    setFrequency: (megahertz) => write(frequencyPath, `${megahertz * 1000}\n`),
    setThrottled(hex) {
      if (firmware) write(`${firmware}/get_throttled`, `${hex}\n`);
    },
    write,
    delete: (path) => rmSync(join(root, path), { recursive: true, force: true }),
    remove: () => rmSync(root, { recursive: true, force: true }),
  };

  for (const path of ['sys/class/thermal', 'sys/class/hwmon', 'sys/devices/platform/serial8250', 'proc']) {
    mkdirSync(join(root, path), { recursive: true });
  }
  layout.zones.forEach((zone, index) => {
    write(`${zonePath(index)}/type`, `${zone.type}\n`);
    write(`${zonePath(index)}/temp`, `${Math.round(zone.celsius * 1000)}\n`);
    write(`${zonePath(index)}/mode`, 'enabled\n');
    link(`sys/class/thermal/thermal_zone${index}`, zonePath(index));
  });
  if (layout.zones.length > 0) {
    write('sys/devices/virtual/thermal/cooling_device0/type', 'Processor\n');
    link('sys/class/thermal/cooling_device0', 'sys/devices/virtual/thermal/cooling_device0');
  }
  layout.hwmon.forEach((device, index) => {
    const place = `${firmware ?? 'sys/devices/platform'}/hwmon-parent${index}/hwmon/hwmon${index}`;
    for (const [name, text] of Object.entries(device)) write(`${place}/${name}`, `${text}\n`);
    link(`sys/class/hwmon/hwmon${index}`, place);
  });
  if (layout.megahertz !== null) folder.setFrequency(layout.megahertz);
  folder.setThrottled('0');
  if (layout.model !== null) {
    write('sys/firmware/devicetree/base/model', `${layout.model}\0`);
    link('proc/device-tree', 'sys/firmware/devicetree/base');
  } else if (machine === 'pc-intel') {
    write('sys/class/dmi/id/product_name', 'OptiPlex 7050\n');
  }
  write('proc/stat', 'cpu  1000 0 500 8000 500 0 0 0 0 0\ncpu0 1000 0 500 8000 500 0 0 0 0 0\nintr 1 2 3\n');
  write('proc/loadavg', '0.20 0.18 0.12 1/80 11206\n');
  write(
    'proc/meminfo',
    'MemTotal:        3884284 kB\nMemFree:         1000000 kB\nMemAvailable:    2969600 kB\n',
  );
  for (const [path, text] of Object.entries(overrides)) {
    if (text === null) folder.delete(path);
    else write(path, text);
  }
  return folder;
}
