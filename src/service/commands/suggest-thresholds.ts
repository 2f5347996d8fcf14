import { groupBy } from '../../common/group-by.js';
import type { z } from 'zod';
import { SoundpostError } from '../../common/errors.js';
import { didYouMean } from '../../common/nearest.js';
import { round } from '../../common/round.js';
import type { FiringHour } from '../../history/firing-hour.js';
import { createFiringSums, type FiringSum } from '../../history/firing-sums.js';
import type { FiringTally, Tallied } from '../../history/firing-tally.js';
import type { History } from '../../history/history.js';
import type { HeardPeak } from '../../history/judged-peaks.js';
import { createLabelMatch } from '../../history/label-match.js';
import { judgedOf, suggestThreshold } from '../../history/suggest.js';
import type { CommandInput } from '../../mqtt/command-specs.js';
import type { ServiceControl } from '../../mqtt/command-table.js';
import { isoTime } from '../../mqtt/contract.js';
import { MAX_SUGGESTIONS, type suggestionSchema } from '../../mqtt/threshold-specs.js';
import { rungOf } from '../../tagging/ladder.js';
import { adviceOf } from '../advice.js';
import { switchedOff } from '../keeping.js';
import { meant } from '../which-source.js';

const DAY_MS = 86_400_000;
const DEFAULT_PER_DAY = 1;
const DEFAULT_DAYS = 7;

type Suggestion = z.output<typeof suggestionSchema>;
type Request = CommandInput<'thresholds/suggest'>;

/** A source, as far as its thresholds are concerned. */
export interface SuggestFor {
  readonly name: string;
  /** Null: nothing is counted. */
  readonly tally: Pick<FiringTally, 'watched' | 'open'> | null;
  /** Whether labels are named in its settings; else every one is watched. */
  readonly namesLabels: () => boolean;
}

/** A watched item of a source. */
interface Asked extends Tallied {
  readonly source: string;
  readonly namesLabels: boolean;
}

/**
 * Suggests thresholds from what was counted (`FiringTally`) and judged, and sets them where that is asked for.
 * @param options.history null: nothing is kept
 * @param options.setThreshold as the command does
 */
export function createThresholdCommands(options: {
  history: Pick<History, 'firingHours' | 'peaks'> | null;
  sources: readonly SuggestFor[];
  setThreshold: ServiceControl['setThreshold'];
  nowMs?: () => number;
}): ServiceControl['thresholds'] {
  const { history, sources, setThreshold, nowMs = Date.now } = options;
  if (history === null) return { 'thresholds/suggest': switchedOff, 'thresholds/apply': switchedOff };
  const isOne = sources.length === 1;

  function askedItems({ label, source }: Request): Asked[] {
    const all = meant(source, sources).flatMap(({ name, tally, namesLabels }) =>
      (tally?.watched() ?? []).map((each) => ({ ...each, source: name, namesLabels: namesLabels() })),
    );
    if (label === undefined) return all;
    const isMeant = createLabelMatch(label);
    const found = all.filter(({ item }) => isMeant(item.name) || item.slug === label);
    if (found.length > 0) return found;
    const names = [...new Set(all.map(({ item }) => item.name))];
    throw new SoundpostError(
      'label_unknown',
      `No label or group "${label}" is watched.${didYouMean(label, names)} Thresholds are suggested only for what is watched.`,
    );
  }

  async function suggest(request: Request, signal: AbortSignal): Promise<Suggestion[]> {
    const asked = askedItems(request);
    // A recording that plays as fast as it can is ahead of the clock.
    const range = { sinceMs: nowMs() - (request.days ?? DEFAULT_DAYS) * DAY_MS, untilMs: Infinity };
    const sums = createFiringSums(asked.map((one) => ({ ...one, name: one.item.name })));
    const take = (hour: FiringHour): void => sums.take(hour);
    // What was told to the history meanwhile is in one of the two, or in both and counts once.
    for (const { tally } of sources) {
      const open = tally?.open() ?? null;
      if (open !== null && open.fromMs >= range.sinceMs) take(open);
    }
    await history!.firingHours(range, take, signal);
    const peaks = groupBy(await history!.peaks(range, signal), ({ name }) => name);
    const all = asked.map((one, n) => {
      const events = (peaks.get(one.item.name) ?? []).filter((event) => event.sources.includes(one.source));
      return describe(one, sums.end()[n]!, events, request);
    });
    const isShown = ({ started, would_have_started: would }: Suggestion, n: number): boolean =>
      request.label !== undefined || asked[n]!.namesLabels || started > 0 || (would ?? 0) > 0;
    return all.filter(isShown).slice(0, MAX_SUGGESTIONS);
  }

  function describe(
    { item, source }: Asked,
    sum: FiringSum,
    events: readonly HeardPeak[],
    { label, per_day: perDay = DEFAULT_PER_DAY }: Request,
  ): Suggestion {
    const threshold = Math.min(...item.members.map((member) => member.onThreshold));
    const rung = rungOf(threshold);
    const found = suggestThreshold(sum, perDay);
    const { withoutWrong, ...judged } = judgedOf(events);
    const suggested = found.threshold === null ? null : judgedOf(events, found.threshold);
    const facts = {
      label: item.name,
      slug: item.slug,
      group: item.group !== null,
      ...(!isOne && { source }),
      threshold,
      started: events.length,
      would_have_started: rung === null || sum.heardMs === 0 ? null : sum.onsets[rung]!,
      suggested: found.threshold,
      suggested_would_have_started: found.fires,
      suggested_per_day:
        found.perDay === null
          ? null
          : {
              expected: round(found.perDay.expected, 2),
              low: round(found.perDay.low, 2),
              high: round(found.perDay.high, 2),
            },
      heard_hours: round(sum.heardMs / 3_600_000, 4),
      since: sum.sinceMs === null ? null : isoTime(sum.sinceMs),
      rests_on: found.restsOn,
      why: found.why,
      judged: {
        ...judged,
        suggested_right: suggested?.right ?? null,
        suggested_wrong: suggested?.wrong ?? null,
        without_wrong: withoutWrong,
      },
    };
    return {
      ...facts,
      advice: adviceOf(facts, perDay),
      ...(label !== undefined && { onsets: [...sum.onsets] }),
    };
  }

  return {
    async 'thresholds/suggest'(request, { signal }) {
      const suggestions = await suggest(request, signal);
      const { per_day: perDay = DEFAULT_PER_DAY, days = DEFAULT_DAYS } = request;
      return { per_day: perDay, days, suggestions };
    },

    async 'thresholds/apply'(request, { signal }) {
      const suggestions = await suggest(request, signal);
      const applied: { label: string; source?: string; before: number; after: number }[] = [];
      const left: { label: string; source?: string; why: string }[] = [];
      let isPersisted = true;
      for (const { label, source, suggested, threshold, rests_on: restsOn, advice } of suggestions) {
        const about = { label, ...(source !== undefined && { source }) };
        const isTooLittle = restsOn !== 'enough' && request.label === undefined;
        if (suggested === null || isTooLittle || suggested === threshold) {
          left.push({ ...about, why: suggested === threshold ? 'It has this threshold already.' : advice });
          continue;
        }
        const { persisted } = await setThreshold(suggested, label, source);
        isPersisted &&= persisted !== false;
        applied.push({ ...about, before: threshold, after: suggested });
      }
      return { applied, left, ...(!isPersisted && { persisted: false }) };
    },
  };
}
