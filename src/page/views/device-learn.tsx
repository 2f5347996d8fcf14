import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import { request, type Answered } from '../api/request.js';
import { useLoaded } from '../lib/hooks.js';
import { useStore } from '../lib/store.js';
import { sourceNames } from '../model/device.js';
import { device } from '../model/session.js';
import { Card, ConfirmButton, ErrorNote, useAction, type Action } from '../parts/basics.js';
import { useWords } from '../texts/index.js';

type List = Answered<'learn/list'>;

/** Sounds of one's own: taught by “that was it”, and what was taught. */
export function LearnCard(): JSX.Element {
  const { t } = useWords();
  // Another model knows other sounds.
  const model = useStore(device, (now) => now.state?.model ?? null);
  const list = useLoaded(`learn ${model ?? ''}`, () => request('learn/list', {}));
  const [name, setName] = useState('');
  const action = useAction();
  const wanted = name.trim();
  if (list.data === null) {
    return (
      <Card title={t.learn.title}>
        {list.error === null ? null : <ErrorNote error={list.error} again={list.again} />}
      </Card>
    );
  }
  const { can_learn: canLearn, why, begun, learnt } = list.data;
  return (
    <Card title={t.learn.title}>
      <p class="dim">{canLearn ? t.learn.help : (why ?? '')}</p>
      {learnt.map((one) => (
        <Learnt key={one.slug} one={one} again={list.again} />
      ))}
      {begun.map((one) => (
        <Begun key={one.name} one={one} again={list.again} />
      ))}
      <form
        class="setting"
        onSubmit={(event) => {
          event.preventDefault();
          void action
            .run(() => request('learn/begin', { name: wanted }), t.learn.begun(wanted))
            .then((isDone) => isDone && setName(''))
            .then(list.again);
        }}
      >
        <label class="inline">
          <span class="setting-name">{t.learn.name}</span>
          <input
            type="text"
            maxLength={100}
            value={name}
            disabled={!canLearn}
            onInput={({ currentTarget: { value } }) => setName(value)}
          />
        </label>
        <button type="submit" disabled={!canLearn || action.isBusy || wanted === ''}>
          {t.learn.begin}
        </button>
        {action.error === null ? null : <ErrorNote error={action.error} />}
      </form>
    </Card>
  );
}

/** One that is being taught. */
function Begun({ one, again }: { one: List['begun'][number]; again: () => void }): JSX.Element {
  const { t } = useWords();
  const { name, examples, missing } = one;
  const names = sourceNames(useStore(device, (now) => now.state));
  const action = useAction();
  const take = (source?: string): void =>
    void action
      .run(
        () => request('learn/example', { name, ...(source !== undefined && { source }) }),
        t.learn.taken(examples + 1),
      )
      .then(again);
  return (
    <div class="setting" role="group" aria-label={name}>
      <span class="setting-name">{name}</span>
      <span class="actions">
        {names.length < 2 ? (
          <button type="button" class="primary" disabled={action.isBusy} onClick={() => take()}>
            {t.learn.thatWasIt}
          </button>
        ) : (
          names.map((source) => (
            <button
              type="button"
              class="primary"
              key={source}
              disabled={action.isBusy}
              onClick={() => take(source)}
            >
              {`${t.learn.thatWasIt} (${source})`}
            </button>
          ))
        )}
        <button
          type="button"
          disabled={action.isBusy || missing > 0}
          onClick={() =>
            void action.run(() => request('learn/finish', { name }), t.learn.finished(name)).then(again)
          }
        >
          {t.learn.finish}
        </button>
        <Forget name={name} action={action} again={again} />
      </span>
      <span class="dim setting-note">
        {t.learn.examples(examples)}
        {missing > 0 ? ` · ${t.learn.missing(missing)}` : ''}
      </span>
      {action.error === null ? null : <ErrorNote error={action.error} />}
    </div>
  );
}

/** One that was taught, and how good it may be expected to be. */
function Learnt({ one, again }: { one: List['learnt'][number]; again: () => void }): JSX.Element {
  const { t, format } = useWords();
  const { name, state, why, quality } = one;
  const action = useAction();
  const alarms = quality.false_alarms_per_day;
  return (
    <div class="setting" role="group" aria-label={name}>
      <span class="setting-name">{name}</span>
      <span class="actions">
        <Forget name={name} action={action} again={again} />
      </span>
      <span class="dim setting-note">
        {t.learn.found(quality.found, quality.of)}
        {' · '}
        {alarms === null
          ? t.learn.unknownAlarms
          : t.learn.alarms(format.number(alarms.low), format.number(alarms.high))}
        {quality.heard_before === 0 ? '' : ` · ${t.learn.heardBefore(quality.heard_before)}`}
      </span>
      {quality.doubts.map((doubt) => (
        <p key={doubt} class="dim setting-note">
          {t.learn.doubts[doubt]}
        </p>
      ))}
      {state === 'at_work' ? null : <p class="note">{why ?? t.learn.notAtWork}</p>}
      {action.error === null ? null : <ErrorNote error={action.error} />}
    </div>
  );
}

function Forget({ name, action, again }: { name: string; action: Action; again: () => void }): JSX.Element {
  const { t } = useWords();
  return (
    <ConfirmButton
      label={t.learn.forget}
      question={t.learn.forgetQuestion(name)}
      confirm={t.learn.forget}
      isBusy={action.isBusy}
      onConfirm={() =>
        void action.run(() => request('learn/remove', { name }), t.learn.forgotten(name)).then(again)
      }
    />
  );
}
