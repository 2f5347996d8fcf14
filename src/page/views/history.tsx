import type { JSX } from 'preact';
import { useMemo, useState } from 'preact/hooks';
import { request } from '../api/request.js';
import { countedFirings, countFirings, stepsOf } from '../lib/firings.js';
import { useLoaded } from '../lib/hooks.js';
import { hrefOf } from '../lib/routes.js';
import { useStore } from '../lib/store.js';
import { offFraction, sourceNames, watchedOf, type Watched } from '../model/device.js';
import { countedLately, scoresBetween, type Counted, type Curve } from '../model/history.js';
import { device } from '../model/session.js';
import { Card, ErrorNote, useAction } from '../parts/basics.js';
import { Plot } from '../parts/plot.js';
import { ThresholdLine } from '../parts/threshold-line.js';
import { ThresholdNow } from '../parts/threshold-now.js';
import { useWords } from '../texts/index.js';

const HOUR_MS = 3_600_000;
const spans = {
  hours: 6 * HOUR_MS,
  day: 24 * HOUR_MS,
  week: 7 * 24 * HOUR_MS,
  month: 30 * 24 * HOUR_MS,
} as const;
type SpanName = keyof typeof spans;
const DEFAULT_THRESHOLD = 0.5;
/** Where scores begin later than this part of the span after its beginning, that is said: counts are of less time. */
const SHORT_OF = 0.05;

/** The scores of one label over hours and days, and what another threshold would have made of them. */
export function HistoryView({ label, source }: { label: string | null; source: string | null }): JSX.Element {
  const { t } = useWords();
  const info = useStore(device, (now) => now.info);
  const state = useStore(device, (now) => now.state);
  const names = sourceNames(state);
  const watched = watchedOf(info, source);
  const name = label ?? watched[0]?.name ?? null;
  const [span, setSpan] = useState<SpanName>('day');
  return (
    <>
      <h1>{t.history.title}</h1>
      <div class="toolbar" role="group" aria-label={t.history.choose}>
        <LabelChoice name={name} watched={watched} source={source} />
        {names.length < 2 ? null : (
          <label class="inline">
            <span>{t.source}</span>
            <select
              value={source ?? ''}
              onChange={({ currentTarget: { value } }) => {
                location.hash = hrefOf({ view: 'history', label: name, source: value || null });
              }}
            >
              <option value="">{t.history.allSources}</option>
              {names.map((one) => (
                <option key={one} value={one}>
                  {one}
                </option>
              ))}
            </select>
          </label>
        )}
        <label class="inline">
          <span>{t.history.span}</span>
          <select value={span} onChange={({ currentTarget: { value } }) => setSpan(value as SpanName)}>
            {(Object.keys(spans) as SpanName[]).map((one) => (
              <option key={one} value={one}>
                {t.history.spans[one]}
              </option>
            ))}
          </select>
        </label>
      </div>
      {name === null ? (
        <p class="dim">{t.history.chooseFirst}</p>
      ) : (
        <LabelHistory
          key={`${name}\n${source ?? ''}`}
          name={name}
          source={source}
          span={span}
          watched={watched.find((item) => item.name === name)}
        />
      )}
    </>
  );
}

/** Watched labels to choose from; any other may be typed, since it may have been watched before. */
function LabelChoice(properties: {
  name: string | null;
  watched: readonly Watched[];
  source: string | null;
}): JSX.Element {
  const { name, watched, source } = properties;
  const { t } = useWords();
  const events = useStore(device, (now) => now.events);
  const tags = useStore(device, (now) => now.sources);
  const heard = Object.values(tags).flatMap((one) => one.tags?.tags.map((tag) => tag.label) ?? []);
  const known = [
    ...new Set([
      ...watched.map((item) => item.name),
      ...events.map((event) => event.group ?? event.label),
      ...heard,
    ]),
  ];
  return (
    <label class="inline grow">
      <span>{t.history.label}</span>
      <input
        type="text"
        list="labels"
        lang="en"
        defaultValue={name ?? ''}
        key={name}
        autocomplete="off"
        spellcheck={false}
        onChange={({ currentTarget: { value } }) => {
          const label = value.trim();
          if (label !== '') location.hash = hrefOf({ view: 'history', label, source });
        }}
      />
      <datalist id="labels">
        {known.map((one) => (
          <option key={one} value={one} />
        ))}
      </datalist>
    </label>
  );
}

function LabelHistory(properties: {
  name: string;
  source: string | null;
  span: SpanName;
  watched: Watched | undefined;
}): JSX.Element {
  const { name, source, span, watched } = properties;
  const { t } = useWords();
  // The end of the span stays where it was while one looks at it.
  const untilMs = useMemo(() => Date.now(), [name, source, span]);
  const sinceMs = untilMs - spans[span];
  const key = `${name}\n${source ?? ''}\n${sinceMs}`;
  const { data, error, isLoading, again } = useLoaded(key, () =>
    scoresBetween(name, source, sinceMs, untilMs),
  );
  // Counts are of whole hours: over a few of them their edges would matter.
  const days = spans[span] / spans.day;
  const { data: counted } = useLoaded(days < 1 ? null : key, () => countedLately(name, source, days));
  return (
    <Card title={name} kind="sound-card">
      {error === null ? null : <ErrorNote error={error} again={again} />}
      {data === null ? (
        <p class="dim">{isLoading ? t.loading : ''}</p>
      ) : data.points.length === 0 ? (
        <p class="dim">{t.history.nothing}</p>
      ) : (
        <Scores
          curve={data}
          name={name}
          source={source}
          span={span}
          edges={[sinceMs / 1000, untilMs / 1000]}
          watched={watched}
          counted={counted}
        />
      )}
    </Card>
  );
}

function Scores(properties: {
  curve: Curve;
  name: string;
  source: string | null;
  span: SpanName;
  edges: [number, number];
  watched: Watched | undefined;
  counted: Counted | null;
}): JSX.Element {
  const { curve, name, source, span, edges, watched, counted } = properties;
  const { t, format } = useWords();
  const fraction = useStore(device, (now) => offFraction(now.info));
  const inForce = watched?.threshold ?? null;
  const [moved, setMoved] = useState<number | null>(null);
  const value = moved ?? inForce ?? DEFAULT_THRESHOLD;
  const { seconds, scores } = useMemo(() => stepsOf(curve.points, curve.stepMs), [curve]);
  const lines = useMemo(() => [{ name, values: scores }], [name, scores]);
  const exact = counted === null ? null : countedFirings(counted, value, curve.points.length * curve.stepMs);
  const reckoned = useMemo(
    () => countFirings(curve.points, value, fraction, curve.stepMs),
    [curve, value, fraction],
  );
  const highest = curve.points.reduce((best, point) => (point.score > best.score ? point : best));
  const firstMs = curve.points[0]!.atMs;
  const isShort = firstMs - edges[0] * 1000 > SHORT_OF * spans[span];
  const meaning = t.history.fired(
    exact ?? reckoned,
    t.history.spansIn[span],
    exact === null && curve.stepMs > 60_000,
  );
  return (
    <>
      <Plot
        label={t.history.plotOf(name, format.score(highest.score), format.dateTime(new Date(highest.atMs)))}
        seconds={seconds}
        lines={lines}
        unit=""
        isStepped
        height={260}
        range={[0, 1]}
        span={edges}
        over={(scale) => (
          <>
            {inForce === null || inForce === value ? null : (
              <ThresholdNow scale={scale} threshold={inForce} />
            )}
            <ThresholdLine scale={scale} value={value} meaning={meaning} onChange={setMoved} />
          </>
        )}
      />
      <p class="legend" aria-hidden="true">
        <span>
          <i class="key colour-0" />
          {t.history.plotKey}
        </span>
        {inForce === null || inForce === value ? null : (
          <span>
            <i class="key-dashed" />
            {t.history.inForceKey}
          </span>
        )}
      </p>
      <p class="firings">
        <strong>{t.history.at(format.score(value))}</strong> {meaning}
      </p>
      {isShort ? <p class="note">{t.history.onlySince(format.dateTime(new Date(firstMs)))}</p> : null}
      <p class="dim">{exact === null ? t.history.how : t.history.howCounted}</p>
      <Applying name={name} source={source} value={value} watched={watched} onChange={setMoved} />
    </>
  );
}

function Applying(properties: {
  name: string;
  source: string | null;
  value: number;
  watched: Watched | undefined;
  onChange: (value: number | null) => void;
}): JSX.Element {
  const { name, source, value, watched, onChange } = properties;
  const { t, format } = useWords();
  const action = useAction();
  const set = (next: number | null): void => {
    const input = { value: next, label: name, ...(source !== null && { source }) };
    void action
      .run(
        () => request('threshold/set', input),
        next === null ? t.history.reset(name) : t.history.applied(name, format.score(next)),
      )
      .then((isDone) => isDone && next === null && onChange(null));
  };
  return (
    <form
      class="actions"
      onSubmit={(event) => {
        event.preventDefault();
        set(value);
      }}
    >
      <label class="inline">
        <span>{t.history.threshold}</span>
        <input
          type="number"
          min={0}
          max={1}
          step={0.01}
          value={value}
          onInput={({ currentTarget }) => {
            const given = currentTarget.valueAsNumber;
            if (given >= 0 && given <= 1) onChange(given);
          }}
        />
      </label>
      <button type="submit" class="primary" disabled={action.isBusy || watched?.threshold === value}>
        {t.history.apply}
      </button>
      <button type="button" disabled={action.isBusy} onClick={() => set(null)}>
        {t.history.recommended}
      </button>
      <p class="dim">
        {watched === undefined ? (
          t.history.notWatched
        ) : (
          <>
            {t.history.inForce(format.score(watched.threshold))} ({t.origins[watched.from] ?? watched.from})
          </>
        )}
      </p>
      {action.error === null ? null : <ErrorNote error={action.error} />}
    </form>
  );
}
