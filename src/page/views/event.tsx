import type { JSX } from 'preact';
import { useMemo, useState } from 'preact/hooks';
import { addressOf, request, RequestError, type Answered } from '../api/request.js';
import { stepsOf } from '../lib/firings.js';
import { useEvery, useLoaded } from '../lib/hooks.js';
import { dateOf, hrefOf } from '../lib/routes.js';
import { useStore } from '../lib/store.js';
import { configValue, watchedOf, type HeardEvent } from '../model/device.js';
import { findEvent, scoresBetween } from '../model/history.js';
import { device } from '../model/session.js';
import { Card, ConfirmButton, ErrorNote, SoundName, useAction } from '../parts/basics.js';
import { nameOf } from '../parts/event-list.js';
import { Plot } from '../parts/plot.js';
import { ThresholdNow } from '../parts/threshold-now.js';
import { ClipPlayer } from '../spectrogram/clip.js';
import { useWords } from '../texts/index.js';

const AROUND_MS = 10 * 60_000;
/** A clip is written a little after the sound has ended. */
const CLIP_DELAY_MS = 60_000;
const LOOK_AGAIN_MS = 3000;
/** Scores are kept by the minute, when it is over. */
const SCORES_DELAY_MS = 2 * 60_000;
const SCORES_AGAIN_MS = 10_000;

/** One event: when, how sure, how it sounded, and whether it was right. */
export function EventView({ id, at }: { id: string; at: string }): JSX.Element {
  const { t } = useWords();
  const live = useStore(device, (now) => now.events.find((event) => event.id === id));
  const { data, error, isLoading, again } = useLoaded(`${id}\n${at}`, () => findEvent(id, at));
  const [judged, setJudged] = useState<boolean | null>(null);
  const kept = data ?? null;
  const event =
    live?.ended_at == null ? (kept ?? live) : { ...live, right: kept?.right ?? live.right ?? null };
  const date = dateOf(new Date(at));
  return (
    <>
      <p>
        <a href={hrefOf({ view: 'day', date })}>← {t.event.back}</a>
      </p>
      {error === null ? null : <ErrorNote error={error} again={again} />}
      {event === undefined ? (
        <>
          <h1>{t.event.title}</h1>
          <p class="dim">{isLoading ? t.loading : t.event.unknown}</p>
        </>
      ) : (
        <Opened event={judged === null ? event : { ...event, right: judged }} onJudged={setJudged} />
      )}
    </>
  );
}

function Opened({ event, onJudged }: { event: HeardEvent; onJudged: (right: boolean) => void }): JSX.Element {
  const { t } = useWords();
  return (
    <>
      <h1>
        <SoundName>{nameOf(event)}</SoundName>
      </h1>
      <Card title={t.event.sound}>
        <Clip event={event} />
      </Card>
      <div class="columns">
        <Card title={t.event.judge}>
          <Judge event={event} onJudged={onJudged} />
        </Card>
        <Card title={t.event.facts}>
          <Facts event={event} />
        </Card>
      </div>
      <Card title={t.event.scores}>
        <ScoresAround event={event} />
      </Card>
    </>
  );
}

function Facts({ event }: { event: HeardEvent }): JSX.Element {
  const { t, format } = useWords();
  const facts: [name: string, value: JSX.Element | string][] = [
    [t.event.began, format.dateTime(event.started_at)],
    [t.event.ended, event.ended_at === null ? t.event.goesOn : format.dateTime(event.ended_at)],
    [t.event.duration, event.duration_s === null ? t.event.goesOn : format.seconds(event.duration_s)],
    [t.event.peak, format.score(event.peak)],
    [t.event.score, format.score(event.score)],
    [t.event.label, <SoundName>{event.label}</SoundName>],
    [t.device.model, event.model],
  ];
  if (event.group !== null) facts.push([t.event.group, event.group]);
  if (event.source !== undefined) facts.push([t.source, event.source]);
  for (const { name, score, level_dbfs: level } of event.sources ?? []) {
    facts.push([name, `${format.score(score)}${level === null ? '' : ` · ${format.number(level, 0)} dBFS`}`]);
  }
  return (
    <dl>
      {facts.map(([name, value]) => (
        <>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </>
      ))}
    </dl>
  );
}

function Judge({ event, onJudged }: { event: HeardEvent; onJudged: (right: boolean) => void }): JSX.Element {
  const { t } = useWords();
  const action = useAction();
  const judge = (right: boolean): void => {
    void action
      .run(
        () => request('event/judge', { id: event.id, right }),
        right ? t.event.judgedRight : t.event.judgedWrong,
      )
      .then((isDone) => isDone && onJudged(right));
  };
  return (
    <>
      <p>{t.event.question(nameOf(event))}</p>
      <div class="actions" role="group" aria-label={t.event.judge}>
        {[true, false].map((right) => (
          <button
            key={String(right)}
            type="button"
            class={right ? 'judge yes' : 'judge no'}
            aria-pressed={event.right === right}
            disabled={action.isBusy}
            onClick={() => judge(right)}
          >
            {right ? `✓ ${t.event.right}` : `✗ ${t.event.wrong}`}
          </button>
        ))}
      </div>
      {action.error === null ? null : <ErrorNote error={action.error} />}
    </>
  );
}

type ClipNote = Answered<'clip/list'>['clips'][number];

/** The clip of an event; null where there is none. */
async function findClip(event: HeardEvent): Promise<ClipNote | null> {
  const end = Date.parse(event.ended_at ?? event.started_at);
  const { clips } = await request('clip/list', {
    since: event.started_at,
    until: new Date(end + 1000).toISOString(),
    limit: 200,
  });
  return clips.find((clip) => clip.event === event.id) ?? null;
}

function Clip({ event }: { event: HeardEvent }): JSX.Element {
  const { t, format } = useWords();
  const info = useStore(device, (now) => now.info);
  const isOff = configValue(info, 'clips.enabled') === false;
  const {
    data: clip,
    error,
    isLoading,
    again,
  } = useLoaded(`${event.id}\n${event.ended_at ?? ''}`, () => findClip(event));
  const action = useAction();
  const isYoung = event.ended_at === null || Date.now() - Date.parse(event.ended_at) < CLIP_DELAY_MS;
  const waits = clip === null && error === null && !isLoading && isYoung && !isOff;
  useEvery(waits ? LOOK_AGAIN_MS : null, again);
  if (clip === null) {
    if (isLoading) return <p class="dim">{t.loading}</p>;
    const isUnknown = error instanceof RequestError && error.code === 'unknown_command';
    if (error !== null && !isUnknown) return <ErrorNote error={error} again={again} />;
    return <NoClip isOff={isOff || isUnknown} waits={waits} />;
  }
  const begin = Date.parse(clip.clip_started_at);
  const ended = event.ended_at ?? clip.ended_at;
  return (
    <>
      <ClipPlayer
        address={addressOf(`api/clips/${encodeURIComponent(clip.id)}`)}
        label={t.event.clipOf(nameOf(event), format.time(event.started_at))}
        marks={{
          begins: Math.max(0, (Date.parse(event.started_at) - begin) / 1000),
          ends: ended === null ? null : (Date.parse(ended) - begin) / 1000,
        }}
      />
      <div class="actions">
        <a
          class="button"
          href={addressOf(`api/clips/${encodeURIComponent(clip.id)}`)}
          download={`${clip.id}.flac`}
        >
          {t.event.download}
        </a>
        <ConfirmButton
          label={t.event.deleteClip}
          question={t.event.deleteClipQuestion}
          confirm={t.delete}
          isBusy={action.isBusy}
          onConfirm={() =>
            void action.run(() => request('clip/delete', { id: clip.id }), t.event.clipDeleted).then(again)
          }
        />
      </div>
      {action.error === null ? null : <ErrorNote error={action.error} />}
    </>
  );
}

function NoClip({ isOff, waits }: { isOff: boolean; waits: boolean }): JSX.Element {
  const { t } = useWords();
  if (waits) return <p class="dim">{t.event.clipComes}</p>;
  return (
    <div class="note">
      <p>{isOff ? t.event.clipsOff : t.event.noClip}</p>
      {isOff ? (
        <>
          <p>{t.event.clipsOn}</p>
          <pre>
            <code>{'clips:\n  enabled: true'}</code>
          </pre>
        </>
      ) : null}
    </div>
  );
}

function ScoresAround({ event }: { event: HeardEvent }): JSX.Element {
  const { t, format } = useWords();
  const info = useStore(device, (now) => now.info);
  const name = nameOf(event);
  const source = event.source ?? null;
  const begin = Date.parse(event.started_at);
  const end = Date.parse(event.ended_at ?? event.started_at);
  const { data, error, isLoading, again } = useLoaded(`${event.id}\n${end}`, () =>
    scoresBetween(name, source, begin - AROUND_MS, end + AROUND_MS),
  );
  const isMissing = data !== null && !data.points.some(({ atMs }) => atMs + data.stepMs > begin);
  const waits = isMissing && Date.now() - end < SCORES_DELAY_MS;
  useEvery(waits ? SCORES_AGAIN_MS : null, again);
  const { seconds, scores } = useMemo(() => stepsOf(data?.points ?? [], data?.stepMs ?? 60_000), [data]);
  const lines = useMemo(() => [{ name, values: scores }], [name, scores]);
  const threshold = watchedOf(info, source).find((item) => item.name === name)?.threshold ?? null;
  if (error !== null) return <ErrorNote error={error} again={again} />;
  if (data === null || data.points.length === 0)
    return <p class="dim">{waits ? t.event.notYet : isLoading ? t.loading : t.history.nothing}</p>;
  return (
    <>
      {waits ? <p class="dim">{t.event.notYet}</p> : null}
      <Plot
        label={t.event.scoresOf(name, format.score(event.peak))}
        seconds={seconds}
        lines={lines}
        unit=""
        isStepped
        range={[0, 1]}
        span={[(begin - AROUND_MS) / 1000, (end + AROUND_MS) / 1000]}
        over={(scale) => {
          const [from, to] = [scale.toX(begin / 1000), scale.toX(end / 1000)];
          return (
            <>
              <span
                class="plot-span"
                aria-hidden="true"
                style={{
                  left: `${from}px`,
                  width: `${Math.max(3, to - from)}px`,
                  top: `${scale.top}px`,
                  height: `${scale.height}px`,
                }}
              />
              {threshold === null ? null : <ThresholdNow scale={scale} threshold={threshold} />}
            </>
          );
        }}
      />
      <p class="legend" aria-hidden="true">
        <span>
          <i class="key colour-0" />
          {t.history.plotKey}
        </span>
        <span>
          <i class="key-span" />
          {t.event.isHere}
        </span>
        {threshold === null ? null : (
          <span>
            <i class="key-dashed" />
            {t.event.thresholdNow(format.score(threshold))}
          </span>
        )}
      </p>
      <p>
        <a href={hrefOf({ view: 'history', label: name, source })}>{t.event.toHistory}</a>
      </p>
    </>
  );
}
