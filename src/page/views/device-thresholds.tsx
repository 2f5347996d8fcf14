import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import { request } from '../api/request.js';
import { hrefOf } from '../lib/routes.js';
import { useStore } from '../lib/store.js';
import { sourceNames, watchedOf, type Watched } from '../model/device.js';
import { device } from '../model/session.js';
import { Card, ErrorNote, SoundName, useAction } from '../parts/basics.js';
import { Suggestion } from '../parts/suggestion.js';
import { useWords } from '../texts/index.js';

/** The thresholds of what is watched, one by one and for all. */
export function ThresholdsCard(): JSX.Element {
  const { t } = useWords();
  const info = useStore(device, (now) => now.info);
  const state = useStore(device, (now) => now.state);
  const names = sourceNames(state);
  const [chosen, setChosen] = useState<string | null>(null);
  const source = names.length < 2 ? null : chosen !== null && names.includes(chosen) ? chosen : names[0]!;
  const watched = watchedOf(info, source);
  return (
    <Card
      title={t.thresholds.title}
      aside={
        source === null ? null : (
          <label class="inline">
            <span>{t.source}</span>
            <select value={source} onChange={({ currentTarget: { value } }) => setChosen(value)}>
              {names.map((name) => (
                <option key={name} value={name}>
                  {name}
                </option>
              ))}
            </select>
          </label>
        )
      }
    >
      <p class="dim">{t.thresholds.help}</p>
      <Row key={`all${source ?? ''}`} item={null} source={source} />
      {watched.length === 0 ? (
        <p class="dim">{t.now.everythingWatched}</p>
      ) : (
        watched.map((item) => <Row key={`${source ?? ''}\n${item.name}`} item={item} source={source} />)
      )}
    </Card>
  );
}

/** @param properties.item null: for all labels that have none of their own */
function Row({ item, source }: { item: Watched | null; source: string | null }): JSX.Element {
  const { t, format } = useWords();
  const forAll = useStore(
    device,
    (now) =>
      now.state?.sources?.find(({ name }) => name === source)?.threshold ?? now.state?.threshold ?? null,
  );
  const [typed, setTyped] = useState<number | null>(null);
  const action = useAction();
  const value = item === null ? forAll : item.threshold;
  const about = { ...(item !== null && { label: item.name }), ...(source !== null && { source }) };
  const name = item?.name ?? t.thresholds.all;
  const set = (next: number | null): void =>
    void action
      .run(
        () => request('threshold/set', { value: next, ...about }),
        next === null ? t.history.reset(name) : t.history.applied(name, format.score(next)),
      )
      .then((isDone) => isDone && setTyped(null));
  return (
    <form
      class="setting threshold"
      onSubmit={(event) => {
        event.preventDefault();
        if (typed !== null) set(typed);
      }}
    >
      <label class="inline">
        <span class="setting-name">{item === null ? name : <SoundName>{name}</SoundName>}</span>
        <input
          type="number"
          min={0}
          max={1}
          step={0.01}
          value={typed ?? value ?? ''}
          placeholder="–"
          onInput={({ currentTarget: { valueAsNumber: given } }) =>
            setTyped(given >= 0 && given <= 1 ? given : null)
          }
        />
      </label>
      <button
        type="submit"
        aria-label={`${t.save}: ${name}`}
        disabled={action.isBusy || typed === null || typed === value}
      >
        {t.save}
      </button>
      <button
        type="button"
        class="plain"
        aria-label={`${t.history.recommended}: ${name}`}
        disabled={action.isBusy || (item === null && forAll === null)}
        onClick={() => set(null)}
      >
        {t.history.recommended}
      </button>
      <span class="dim setting-note">
        {item === null ? (
          forAll === null ? (
            t.thresholds.recommendedNow
          ) : (
            ''
          )
        ) : (
          <>
            {t.origins[item.from] ?? item.from}
            {' · '}
            <a href={hrefOf({ view: 'history', label: item.name, source })}>
              {t.thresholds.toHistory}
              <span class="unseen">: {item.name}</span>
            </a>
          </>
        )}
      </span>
      {item === null ? null : <Suggestion label={item.name} source={source} />}
      {action.error === null ? null : <ErrorNote error={action.error} />}
    </form>
  );
}
