import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import { request } from '../api/request.js';
import { useLoaded } from '../lib/hooks.js';
import { useStore } from '../lib/store.js';
import { device } from '../model/session.js';
import { Card, ErrorNote, useAction } from '../parts/basics.js';
import { useWords } from '../texts/index.js';

/** Which microphone is heard; nothing where the sound comes from elsewhere. */
export function MicrophoneCard(): JSX.Element | null {
  const { t } = useWords();
  const state = useStore(device, (now) => now.state);
  if (state === null) return null;
  const several = state.sources?.filter(({ source }) => source === 'microphone');
  const microphones =
    several ?? (state.source === 'microphone' ? [{ name: null, audio_device: state.audio_device }] : []);
  if (microphones.length === 0) return null;
  return (
    <Card title={t.microphone.title}>
      {microphones.map(({ name, audio_device: chosen }) => (
        <Choice key={name} source={name} chosen={chosen} />
      ))}
    </Card>
  );
}

function Choice({ source, chosen }: { source: string | null; chosen: string | null }): JSX.Element {
  const { t } = useWords();
  const { data, error, again } = useLoaded('inputs', () => request('audio/list', {}));
  const [wanted, setWanted] = useState<string | null>(null);
  const action = useAction();
  const value = wanted ?? chosen ?? '';
  const names = [
    ...new Set([...(data?.devices.map(({ name }) => name) ?? []), ...(chosen === null ? [] : [chosen])]),
  ];
  return (
    <form
      class="setting"
      onSubmit={(event) => {
        event.preventDefault();
        void action
          .run(
            () =>
              request('audio/set', {
                device: value === '' ? null : value,
                ...(source !== null && { source }),
              }),
            t.microphone.saved,
          )
          .then(() => setWanted(null));
      }}
    >
      <label class="inline grow">
        <span class="setting-name">{source ?? t.microphone.input}</span>
        <select value={value} onChange={({ currentTarget }) => setWanted(currentTarget.value)}>
          <option value="">{t.microphone.default}</option>
          {names.map((name) => (
            <option key={name} value={name}>
              {name}
            </option>
          ))}
        </select>
      </label>
      <button type="submit" disabled={action.isBusy || value === (chosen ?? '')}>
        {t.save}
      </button>
      {error === null ? null : <ErrorNote error={error} again={again} />}
      {action.error === null ? null : <ErrorNote error={action.error} />}
    </form>
  );
}
