/** Why a taught sound may do worse than wished. */
export const DOUBTS = ['misses', 'little_heard', 'common'] as const;
export type Doubt = (typeof DOUBTS)[number];

/** A smaller share of examples found again is worth a word. */
const GOOD_SHARE = 0.9;
/** A day, of which a second in every five is kept: the sounds of a day are known then. */
const DAY_KEPT_HOURS = 4.8;

/** @param isCommon sounds like it were heard too often before to be left out */
export function doubtsOf(quality: {
  found: number;
  of: number;
  heardHours: number;
  isCommon: boolean;
}): Doubt[] {
  const { found, of, heardHours, isCommon } = quality;
  const doubts: Doubt[] = [];
  if (found < GOOD_SHARE * of) doubts.push('misses');
  if (heardHours < DAY_KEPT_HOURS) doubts.push('little_heard');
  if (isCommon) doubts.push('common');
  return doubts;
}

/** What that means and what helps, a sentence each, for people. */
export const DOUBT_TEXTS: Readonly<Record<Doubt, string>> = {
  misses:
    'It will be missed at times: other sounds that this device hears are too much like it. More examples help, or a lower threshold, which costs false alarms.',
  little_heard:
    'This device has listened for less than a day: sounds of kinds that it does not know yet may be taken for this one. Teach it again after a day or two.',
  common:
    'Sounds just like it were heard all day before it was taught. They count as something else, so it may be missed.',
};
