import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import { request, RequestError } from '../api/request.js';
import { useLoaded } from '../lib/hooks.js';
import { dateOf, dayStart, isDate, shiftDate } from '../lib/routes.js';
import { Card, ConfirmButton, ErrorNote, useAction } from '../parts/basics.js';
import { useWords } from '../texts/index.js';

const DEFAULT_DAYS = 7;

/** What the device remembers, and how it is deleted. */
export function StorageCard(): JSX.Element {
  const { t, format } = useWords();
  const clips = useLoaded('clips', () => request('clip/list', { limit: 1 }));
  const [date, setDate] = useState(() => shiftDate(dateOf(new Date()), -DEFAULT_DAYS));
  const action = useAction();
  const before = dayStart(date);
  const day = format.date(before);
  const hasNoClips = clips.error instanceof RequestError && clips.error.code === 'unknown_command';
  return (
    <Card title={t.storage.title}>
      <label class="inline setting">
        <span class="setting-name">{t.storage.before}</span>
        <input
          type="date"
          value={date}
          onChange={({ currentTarget: { value } }) => {
            if (isDate(value)) setDate(value);
          }}
        />
      </label>
      <div class="setting" role="group" aria-label={t.storage.history}>
        <span class="setting-name">{t.storage.history}</span>
        <span class="actions">
          <ConfirmButton
            label={t.storage.deleteOld}
            question={t.storage.historyOldQuestion(day)}
            confirm={t.delete}
            isBusy={action.isBusy}
            onConfirm={() =>
              void action.run(
                () => request('history/delete', { before: before.toISOString() }),
                t.storage.historyDeleted,
              )
            }
          />
          <ConfirmButton
            label={t.storage.deleteAll}
            question={t.storage.historyAllQuestion}
            confirm={t.delete}
            isBusy={action.isBusy}
            onConfirm={() =>
              void action.run(() => request('history/delete', { all: true }), t.storage.historyDeleted)
            }
          />
        </span>
      </div>
      {hasNoClips ? null : (
        <div class="setting" role="group" aria-label={t.storage.clips}>
          <span class="setting-name">{t.storage.clips}</span>
          <span class="actions">
            <ConfirmButton
              label={t.storage.deleteOld}
              question={t.storage.clipsOldQuestion(day)}
              confirm={t.delete}
              isBusy={action.isBusy}
              onConfirm={() =>
                void action
                  .run(() => request('clip/delete', { before: before.toISOString() }), t.storage.clipsDeleted)
                  .then(clips.again)
              }
            />
            <ConfirmButton
              label={t.storage.deleteAll}
              question={t.storage.clipsAllQuestion}
              confirm={t.delete}
              isBusy={action.isBusy}
              onConfirm={() =>
                void action
                  .run(() => request('clip/delete', { all: true }), t.storage.clipsDeleted)
                  .then(clips.again)
              }
            />
          </span>
          {clips.data === null ? null : (
            <span class="dim setting-note">
              {t.storage.clipCount(clips.data.total, format.bytes(clips.data.bytes))}
            </span>
          )}
        </div>
      )}
      {action.error === null ? null : <ErrorNote error={action.error} />}
    </Card>
  );
}
