import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import { request, type Answered } from '../api/request.js';
import { useWords, type Texts } from '../texts/index.js';
import { ErrorNote, useAction } from './basics.js';

type Suggested = Answered<'thresholds/suggest'>['suggestions'][number];

/** So often a label may start in a day. */
const PER_DAY = 1;
const DAYS = 7;

/** Asks which threshold would have been right for a label, and sets it where that is wanted. */
export function Suggestion({ label, source }: { label: string; source: string | null }): JSX.Element {
  const { t } = useWords();
  const [found, setFound] = useState<Suggested | null>(null);
  const action = useAction();
  const about = { label, ...(source !== null && { source }), per_day: PER_DAY, days: DAYS };
  const look = (): void =>
    void action.run(async () => {
      const { suggestions } = await request('thresholds/suggest', about);
      setFound(suggestions[0] ?? null);
    }, t.suggestion.here(label));
  return (
    <>
      <button
        type="button"
        class="plain"
        aria-label={`${t.suggestion.ask}: ${label}`}
        disabled={action.isBusy}
        onClick={look}
      >
        {t.suggestion.ask}
      </button>
      {found === null ? null : <Found found={found} about={about} onDone={() => setFound(null)} />}
      {action.error === null ? null : <ErrorNote error={action.error} />}
    </>
  );
}

function Found(properties: {
  found: Suggested;
  about: { label: string; source?: string; per_day: number; days: number };
  onDone: () => void;
}): JSX.Element {
  const { found, about, onDone } = properties;
  const { t, format } = useWords();
  const action = useAction();
  const { label, ...where } = {
    label: about.label,
    ...(about.source !== undefined && { source: about.source }),
  };
  const finish = (isDone: boolean): void => {
    if (isDone) onDone();
  };
  const { suggested } = found;
  const without = found.judged.without_wrong;
  return (
    <div class="setting-note suggestion" role="group" aria-label={t.suggestion.of(label)}>
      {sentences(found, t, format.score).map((sentence) => (
        <p key={sentence}>{sentence}</p>
      ))}
      <div class="actions">
        {suggested === null || suggested === found.threshold ? null : (
          <button
            type="button"
            class="primary"
            disabled={action.isBusy}
            onClick={() =>
              void action
                .run(
                  () => request('thresholds/apply', about),
                  t.history.applied(label, format.score(suggested)),
                )
                .then(finish)
            }
          >
            {t.suggestion.take(format.score(suggested))}
          </button>
        )}
        {without === null || without.threshold === suggested ? null : (
          <button
            type="button"
            disabled={action.isBusy}
            onClick={() =>
              void action
                .run(
                  () => request('threshold/set', { value: without.threshold, label, ...where }),
                  t.history.applied(label, format.score(without.threshold)),
                )
                .then(finish)
            }
          >
            {t.suggestion.take(format.score(without.threshold))}
          </button>
        )}
        <button type="button" class="plain" onClick={onDone}>
          {t.suggestion.leave}
        </button>
      </div>
      {action.error === null ? null : <ErrorNote error={action.error} />}
    </div>
  );
}

/** What was found, in the language of the page. */
function sentences(found: Suggested, t: Texts, score: (value: number) => string): string[] {
  const { suggested, judged, heard_hours: hours, would_have_started: now } = found;
  const words = t.suggestion;
  const days = Math.round((hours / 24) * 10) / 10;
  if (found.why === 'nothing_heard') return [words.nothingHeard];
  const all: string[] = [];
  if (now !== null) all.push(words.atNow(score(found.threshold), now, days));
  if (suggested === null) all.push(found.why === 'too_often' ? words.tooOften : words.hardlyHeard);
  else all.push(words.atSuggested(score(suggested), found.suggested_would_have_started ?? 0));
  if (found.rests_on === 'little') all.push(words.little);
  const { without_wrong: without } = judged;
  if (without !== null) {
    all.push(words.withoutWrong(score(without.threshold), judged.wrong, without.loses, judged.right));
  } else if (judged.right + judged.wrong === 0) all.push(words.judge);
  return all;
}
