import type { JSX } from 'preact';
import { uniqueSlugs } from '../../tagging/slug.js';
import { request } from '../api/request.js';
import { useLoaded } from '../lib/hooks.js';
import { useStore } from '../lib/store.js';
import { hrefOf } from '../lib/routes.js';
import {
  sourceNames,
  watchedOf,
  withEvent,
  type HeardEvent,
  type SourceNow,
  type Watched,
} from '../model/device.js';
import { device } from '../model/session.js';
import { Card, SoundName } from '../parts/basics.js';
import { EventList } from '../parts/event-list.js';
import { LiveSpectrogram } from '../spectrogram/live.js';
import { useWords } from '../texts/index.js';

const LATELY = 8;

/** What is heard now: a row for each source, and what was heard last. */
export function NowView(): JSX.Element {
  const { t } = useWords();
  const state = useStore(device, (now) => now.state);
  const live = useStore(device, (now) => now.events);
  const connection = useStore(device, (now) => now.connection);
  const names = sourceNames(state);
  // What came before the page was opened, or while there was no connection.
  const { data } = useLoaded(connection === 'live' ? 'lately' : null, () =>
    request('history', { limit: LATELY }),
  );
  const events = [...live].reverse().reduce<HeardEvent[]>(withEvent, [...(data?.events ?? [])]);
  return (
    <>
      <h1>{t.now.title}</h1>
      {names.map((name) => (
        <SourceRow key={name} name={name} isOnly={names.length === 1} />
      ))}
      <Card title={t.now.lately}>
        {events.length === 0 ? (
          <p class="dim">{t.now.nothingYet}</p>
        ) : (
          <EventList events={events.slice(0, LATELY)} />
        )}
        <p>
          <a href={hrefOf({ view: 'day', date: null })}>{t.now.allOfToday}</a>
        </p>
      </Card>
    </>
  );
}

function SourceRow({ name, isOnly }: { name: string; isOnly: boolean }): JSX.Element {
  const { t } = useWords();
  const known = useStore(device, (now) => now.sources[name]);
  const audio = useStore(device, (now) => now.sources[name]?.audio ?? now.audio);
  const info = useStore(device, (now) => now.info);
  const isPaused = useStore(
    device,
    (now) => now.state?.sources?.find((one) => one.name === name)?.paused ?? now.state?.paused ?? false,
  );
  const kind = useStore(device, (now) => now.state?.source ?? 'microphone');
  // What was heard last is not heard now.
  const isDeaf = isPaused || audio === 'offline';
  const source = isDeaf && known !== undefined ? { ...known, tags: null, level: null } : known;
  const watched = watchedOf(info, isOnly ? null : name);
  const status = isPaused ? t.now.paused : audio === 'offline' ? t.now.noSound : t.now.listening;
  const title = isOnly ? (t.now.kinds[kind] ?? name) : name;
  return (
    <Card
      title={title}
      kind="source"
      aside={
        <span class="source-facts">
          <Level source={source} />
          <span class={`badge ${isDeaf ? 'warn' : 'ok'}`}>{status}</span>
        </span>
      }
    >
      <LiveSpectrogram
        source={name}
        label={t.now.spectrogramOf(isOnly ? (t.now.theKinds[kind] ?? name) : name)}
      />
      <div class="columns">
        <div>
          <h3>{t.now.watched}</h3>
          <WatchedScores source={source} watched={watched} name={isOnly ? null : name} />
          <p class="legend" aria-hidden="true">
            {watched.length === 0 ? null : (
              <span>
                <i class="key-threshold" />
                {t.now.thresholdMark}
              </span>
            )}
            <span>{t.now.scale}</span>
          </p>
        </div>
        <div>
          <h3>{t.now.loudest}</h3>
          <TopScores source={source} watched={watched} name={isOnly ? null : name} />
        </div>
      </div>
    </Card>
  );
}

const QUIETEST_DBFS = -90;

function Level({ source }: { source: SourceNow | undefined }): JSX.Element | null {
  const { t, format } = useWords();
  const dbfs = source?.tags?.level_dbfs ?? source?.level?.dbfs ?? null;
  if (dbfs === null) return null;
  const part = Math.min(1, Math.max(0, 1 - dbfs / QUIETEST_DBFS));
  const spl = source?.level?.spl_dba ?? null;
  const text = `${format.number(dbfs, 0)} dBFS${spl === null ? '' : ` · ${format.number(spl, 0)} dB(A)`}`;
  return (
    <span class="level">
      <span class="level-name dim" aria-hidden="true">
        {t.now.level}
      </span>
      <span
        class="level-bar"
        role="meter"
        aria-label={t.now.level}
        aria-valuemin={QUIETEST_DBFS}
        aria-valuemax={0}
        aria-valuenow={Math.round(Math.max(QUIETEST_DBFS, dbfs))}
        aria-valuetext={text}
      >
        <span style={{ width: `${100 * part}%` }} />
      </span>
      <span class="figures" aria-hidden="true">
        {text}
      </span>
    </span>
  );
}

type TagRow = NonNullable<SourceNow['tags']>['tags'][number];

/** What is watched, in the order of the settings, so that nothing jumps. */
function WatchedScores(properties: {
  source: SourceNow | undefined;
  watched: readonly Watched[];
  name: string | null;
}): JSX.Element {
  const { source, watched, name } = properties;
  const { t } = useWords();
  if (watched.length === 0) return <p class="dim">{t.now.everythingWatched}</p>;
  const slugs = uniqueSlugs(watched.map((item) => item.name));
  const tags = source?.tags?.tags ?? [];
  const scores = new Map(tags.map((tag) => [tag.label, tag.score]));
  const least = tags.length === 0 ? null : Math.min(...scores.values());
  return (
    <ul class="scores">
      {watched.map((item, index) => {
        const known = item.labels.map((label) => scores.get(label)).filter((score) => score !== undefined);
        return (
          <ScoreRow
            key={item.name}
            label={item.name}
            score={known.length === 0 ? null : Math.max(...known)}
            least={least}
            threshold={item.threshold}
            source={name}
            isOn={source?.on.includes(slugs[index]!) ?? false}
          />
        );
      })}
    </ul>
  );
}

function TopScores(properties: {
  source: SourceNow | undefined;
  watched: readonly Watched[];
  name: string | null;
}): JSX.Element {
  const { source, watched, name } = properties;
  const { t } = useWords();
  const tags: readonly TagRow[] = source?.tags?.tags.slice(0, 8) ?? [];
  if (tags.length === 0) return <p class="dim">{t.now.nothingYet}</p>;
  return (
    <ul class="scores">
      {tags.map(({ label, score }, rank) => (
        <ScoreRow
          key={rank}
          label={label}
          score={score}
          threshold={watched.find(({ labels }) => labels.includes(label))?.threshold ?? null}
          source={name}
          isOn={false}
        />
      ))}
    </ul>
  );
}

function ScoreRow(properties: {
  label: string;
  /** Null: less than what is told. */
  score: number | null;
  /** The least that is told; null where nothing is. */
  least?: number | null;
  threshold: number | null;
  source: string | null;
  isOn: boolean;
}): JSX.Element {
  const { label, score, least = null, threshold, source, isOn } = properties;
  const { t, format } = useWords();
  const isOver = isOn || (score !== null && threshold !== null && score >= threshold);
  const below = least === null ? '–' : t.now.lessThan(format.score(least));
  const text = score === null ? below : format.score(score);
  return (
    <li class={isOver ? 'score over' : 'score'}>
      <a href={hrefOf({ view: 'history', label, source })} class="score-name">
        <SoundName>{label}</SoundName>
        {isOn ? <span class="badge on">{t.now.isOn}</span> : null}
      </a>
      <span class="score-value figures">
        {text}
        <span class="unseen">
          {threshold === null ? '' : ` ${t.now.ofThreshold(format.score(threshold))}`}
        </span>
      </span>
      <span class="score-bar" aria-hidden="true">
        <span class="score-fill" style={{ width: `${100 * (score ?? 0)}%` }} />
        {threshold === null ? null : <span class="score-mark" style={{ left: `${100 * threshold}%` }} />}
      </span>
    </li>
  );
}
