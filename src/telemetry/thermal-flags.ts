/** What the firmware says of itself now: the low bits of `get_throttled`. Null is what it does not tell. */
export interface FirmwareFlags {
  underVoltage: boolean;
  frequencyCapped: boolean | null;
  throttled: boolean | null;
  softTemperatureLimit: boolean | null;
}

export type FlagCause = 'under_voltage' | 'frequency_capped' | 'firmware_soft_limit';

/** When each flag that puts a ceiling on the rate was last seen, ms; empty before. */
export type FlagState = Readonly<Partial<Record<FlagCause, number>>>;

/**
 * What slowing down can do about each flag, as a share of the requested rate:
 * - Under-voltage: an inference draws the same current however rarely it comes, so no rate cures it; half as many
 *   leave half as many dips and a cooler supply. Below half little is gained and much is lost.
 * - Frequency capped without heat goes with under-voltage or a limit in `config.txt`: inferences take longer (600
 *   against 1800 MHz at the worst), and half the rate keeps them from running into each other.
 * - Soft temperature limit (Raspberry Pi 3 A+ and B+: from 60 °C on 1.2 in place of 1.4 GHz, by design and harmless;
 *   Raspberry Pi 4: from 80 °C on, where the temperature counts long before): a quarter less is enough to notice.
 *
 * "Throttled", and a capped frequency in the heat, are no ceilings: they count as a temperature over the soft limit.
 * Bits and their meaning: Raspberry Pi documentation, "vcgencmd get_throttled" and "Frequency management and thermal
 * control". That a Raspberry Pi 4 sets the soft limit's bit from 80 °C on, and the two others at 85 °C:
 * raspberrypi/documentation, issue 2546 (0x80008 at 82 °C), and alwye/get_throttled, issue 4.
 */
const CEILINGS: Record<FlagCause, number> = {
  under_voltage: 0.5,
  frequency_capped: 0.5,
  firmware_soft_limit: 0.75,
};

/**
 * So long after a flag was last seen its ceiling stays. The firmware clears a flag as soon as its cause is gone, for
 * an instant too, and slowing down may be what cleared it; without the rest the rate would swing with it.
 */
const FLAG_REST_MS = 5 * 60_000;

/** From here on the firmware slows the cores down and says so, °C (same documentation). */
const FIRMWARE_HOT_C = 80;

/** Whether the firmware's flags will tell of heat before the hard limit is reached, where nothing else does. */
export function flagsTellOfHeat(flags: FirmwareFlags | null, hardLimitC: number): boolean {
  return flags !== null && flags.throttled !== null && hardLimitC > FIRMWARE_HOT_C;
}

/** The ceiling of the rate under these flags: a share of the requested rate, and why; 1 and null without. */
export function flagCeiling(
  state: FlagState,
  flags: FirmwareFlags | null,
  options: { heat: boolean; nowMs: number },
): { state: FlagState; share: number; cause: FlagCause | null } {
  const { nowMs } = options;
  const set: Record<FlagCause, boolean> = {
    under_voltage: flags?.underVoltage ?? false,
    frequency_capped: ((flags?.frequencyCapped ?? false) || (flags?.throttled ?? false)) && !options.heat,
    firmware_soft_limit: flags?.softTemperatureLimit ?? false,
  };
  const seen: Partial<Record<FlagCause, number>> = {};
  let share = 1;
  let cause: FlagCause | null = null;
  for (const name of ['under_voltage', 'frequency_capped', 'firmware_soft_limit'] as const) {
    const at = set[name] ? nowMs : state[name];
    if (at === undefined || nowMs - at >= FLAG_REST_MS) continue;
    seen[name] = at;
    if (CEILINGS[name] < share) {
      share = CEILINGS[name];
      cause = name;
    }
  }
  return { state: seen, share, cause };
}
