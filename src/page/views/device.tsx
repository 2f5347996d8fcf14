import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import { logout, request, session } from '../api/request.js';
import { useLoaded } from '../lib/hooks.js';
import { useStore } from '../lib/store.js';
import { sourceNames } from '../model/device.js';
import { device } from '../model/session.js';
import { Card, ConfirmButton, ErrorNote, useAction } from '../parts/basics.js';
import { useWords } from '../texts/index.js';
import { LearnCard } from './device-learn.js';
import { MicrophoneCard } from './device-microphone.js';
import { ModelCards } from './device-models.js';
import { StorageCard } from './device-storage.js';
import { ThresholdsCard } from './device-thresholds.js';

const PAUSES_SECONDS = [600, 3600, 8 * 3600] as const;

/** Everything that can be set. */
export function DeviceView(): JSX.Element {
  const { t, format } = useWords();
  const info = useStore(device, (now) => now.info);
  const uptime = useStore(device, (now) => now.telemetry?.uptime_s ?? null);
  return (
    <>
      <h1>{t.device.title}</h1>
      <p class="dim">
        {info === null ? '' : `${info.device.name} · Soundpost ${info.version}`}
        {uptime === null ? '' : ` · ${t.device.runningFor(format.uptime(uptime))}`}
      </p>
      <ListeningCard />
      <ThresholdsCard />
      <LearnCard />
      <ModelCards />
      <MicrophoneCard />
      <StorageCard />
      <RestartCard />
    </>
  );
}

function ListeningCard(): JSX.Element {
  const { t } = useWords();
  const state = useStore(device, (now) => now.state);
  const names = sourceNames(state);
  const action = useAction();
  return (
    <Card title={t.device.listening}>
      {names.map((name) => {
        const isOnly = names.length === 1;
        const isPaused = state?.sources?.find((one) => one.name === name)?.paused ?? state?.paused ?? false;
        const about = isOnly ? {} : { source: name };
        const pause = (seconds?: number): void =>
          void action.run(
            () => request('pause', { ...about, ...(seconds !== undefined && { seconds }) }),
            t.device.pausedNow,
          );
        return (
          <div class="setting" key={name} role="group" aria-label={isOnly ? t.device.listening : name}>
            <span class="setting-name">
              {isOnly ? '' : `${name}: `}
              {isPaused ? t.now.paused : t.now.listening}
            </span>
            {isPaused ? (
              <button
                type="button"
                class="primary"
                disabled={action.isBusy}
                onClick={() => void action.run(() => request('resume', about), t.device.resumedNow)}
              >
                {t.device.resume}
              </button>
            ) : (
              <span class="actions">
                <button type="button" disabled={action.isBusy} onClick={() => pause()}>
                  {t.device.pause}
                </button>
                {PAUSES_SECONDS.map((seconds) => {
                  const time = seconds < 3600 ? t.units.minutes(seconds / 60) : t.units.hours(seconds / 3600);
                  return (
                    <button
                      type="button"
                      key={seconds}
                      aria-label={t.device.pauseFor(time)}
                      disabled={action.isBusy}
                      onClick={() => pause(seconds)}
                    >
                      {time}
                    </button>
                  );
                })}
              </span>
            )}
          </div>
        );
      })}
      {action.error === null ? null : <ErrorNote error={action.error} />}
      <NumberSetting
        label={t.device.rate}
        unit={t.device.perSecond}
        value={state?.rate_hz ?? null}
        min={0.01}
        max={20}
        step={0.01}
        note={
          state !== null && state.effective_rate_hz !== state.rate_hz
            ? t.device.effective(state.effective_rate_hz)
            : t.device.rateHelp
        }
        save={(hz) => request('rate/set', { hz })}
        saved={t.device.rateSaved}
      />
      <NumberSetting
        label={t.device.telemetry}
        unit="s"
        value={state?.telemetry_interval_seconds ?? null}
        min={1}
        max={86_400}
        step={1}
        note={t.device.telemetryHelp}
        save={(seconds) => request('telemetry/set', { interval_seconds: seconds })}
        saved={t.device.telemetrySaved}
      />
    </Card>
  );
}

/** One number that can be set; what was typed stays until it is saved or the device says another. */
export function NumberSetting(properties: {
  label: string;
  unit: string;
  value: number | null;
  min: number;
  max: number;
  step: number;
  note?: string;
  save: (value: number) => Promise<unknown>;
  saved: string;
}): JSX.Element {
  const { label, unit, value, min, max, step, note, save, saved } = properties;
  const { t } = useWords();
  const [typed, setTyped] = useState<number | null>(null);
  const action = useAction();
  const shown = typed ?? value;
  const isFit = typed !== null && typed >= min && typed <= max && typed !== value;
  return (
    <form
      class="setting"
      onSubmit={(event) => {
        event.preventDefault();
        if (isFit) void action.run(() => save(typed), saved).then((isDone) => isDone && setTyped(null));
      }}
    >
      <label class="inline">
        <span class="setting-name">{label}</span>
        <input
          type="number"
          min={min}
          max={max}
          step={step}
          value={shown ?? ''}
          onInput={({ currentTarget }) =>
            setTyped(Number.isNaN(currentTarget.valueAsNumber) ? null : currentTarget.valueAsNumber)
          }
        />
        <span>{unit}</span>
      </label>
      <button type="submit" disabled={!isFit || action.isBusy}>
        {t.save}
      </button>
      {note === undefined ? null : <span class="dim setting-note">{note}</span>}
      {action.error === null ? null : <ErrorNote error={action.error} />}
    </form>
  );
}

function RestartCard(): JSX.Element {
  const { t } = useWords();
  const action = useAction();
  const { data } = useLoaded('session', session);
  return (
    <Card title={t.device.restart}>
      <p class="dim">{t.device.restartHelp}</p>
      <div class="actions">
        <ConfirmButton
          label={t.device.restart}
          question={t.device.restartQuestion}
          confirm={t.device.restart}
          isBusy={action.isBusy}
          onConfirm={() => void action.run(() => request('restart', {}), t.device.restarting)}
        />
        {data?.password_required === true ? <SignOut /> : null}
      </div>
      {action.error === null ? null : <ErrorNote error={action.error} />}
    </Card>
  );
}

function SignOut(): JSX.Element {
  const { t } = useWords();
  return (
    <button type="button" onClick={() => void logout().then(() => location.reload())}>
      {t.login.out}
    </button>
  );
}
