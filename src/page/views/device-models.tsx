import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { request, RequestError, type Answered } from '../api/request.js';
import { useLoaded } from '../lib/hooks.js';
import { useStore } from '../lib/store.js';
import { device } from '../model/session.js';
import { Card, ConfirmButton, ErrorNote, Progress, useAction } from '../parts/basics.js';
import { useWords } from '../texts/index.js';

type Installed = Answered<'model/list'>['installed'][number];
type Available = Answered<'model/list'>['available'][number];

/** The model at work, and those that could be. */
export function ModelCards(): JSX.Element {
  const { t } = useWords();
  // What is installed changes with `info`.
  const installedNow = useStore(device, (now) => now.info?.models.installed.map(({ id }) => id).join() ?? '');
  const { data, error, isLoading, again } = useLoaded('models', () => request('model/list', {}));
  useEffect(again, [installedNow]);
  return (
    <>
      <Card title={t.device.model}>
        <Switching installed={data?.installed ?? []} />
        <Swap />
      </Card>
      <Card title={t.device.models}>
        {error === null ? null : <ErrorNote error={error} again={again} />}
        {data === null ? (
          <p class="dim">{isLoading ? t.loading : ''}</p>
        ) : (
          <ModelTable {...data} onChange={again} />
        )}
      </Card>
    </>
  );
}

function Switching({ installed }: { installed: readonly Installed[] }): JSX.Element {
  const { t } = useWords();
  const model = useStore(device, (now) => now.state?.model ?? null);
  const known = useStore(device, (now) => now.info?.models.installed);
  const [chosen, setChosen] = useState<string | null>(null);
  const action = useAction();
  const choices = installed.length > 0 ? installed : (known ?? []);
  const wanted = chosen ?? model ?? '';
  return (
    <form
      class="setting"
      onSubmit={(event) => {
        event.preventDefault();
        void action
          .run(() => request('model/set', { id: wanted }), t.device.modelSet(wanted))
          .then(() => setChosen(null));
      }}
    >
      <label class="inline grow">
        <span class="setting-name">{t.device.atWork}</span>
        <select
          value={wanted}
          disabled={action.isBusy}
          onChange={({ currentTarget }) => setChosen(currentTarget.value)}
        >
          {choices.map(({ id, title }) => (
            <option key={id} value={id}>
              {title}
            </option>
          ))}
        </select>
      </label>
      <button type="submit" class="primary" disabled={action.isBusy || wanted === model || wanted === ''}>
        {t.device.switch}
      </button>
      {action.error === null ? null : <ErrorNote error={action.error} />}
    </form>
  );
}

/** Long work on a model: what, and how far it is. */
function Swap(): JSX.Element | null {
  const { t, format } = useWords();
  const swap = useStore(device, (now) => now.state?.swap ?? null);
  const action = useAction();
  if (swap === null || swap.state === 'idle') return null;
  const step = t.device.steps[swap.state] ?? swap.state;
  const text = `${step}: ${swap.model ?? ''}`;
  return (
    <div class="setting swap">
      <span>
        {text} {swap.progress === null ? '' : `${format.number(100 * swap.progress, 0)} %`}
      </span>
      <Progress label={text} value={swap.progress} />
      <button
        type="button"
        disabled={action.isBusy}
        onClick={() => void action.run(() => request('model/cancel', {}), t.device.cancelled)}
      >
        {t.cancel}
      </button>
    </div>
  );
}

/** A proxy may give up the request long before the installation is done; then `state` tells how it goes on. */
async function pullModel(id: string): Promise<void> {
  try {
    await request('model/pull', { id });
  } catch (error) {
    const goesOn = device.get().state?.swap.model === id;
    if (!goesOn || !(error instanceof RequestError) || error.code !== 'unreachable') throw error;
    await new Promise<void>((resolve) => {
      const end = device.subscribe(() => {
        if (device.get().state?.swap.model === id) return;
        end();
        resolve();
      });
    });
    if (device.get().info?.models.installed.some((model) => model.id === id) !== true) throw error;
  }
}

function ModelTable(properties: {
  installed: readonly Installed[];
  available: readonly Available[];
  broken: readonly { id: string; error: string }[];
  onChange: () => void;
}): JSX.Element {
  const { installed, available, broken, onChange } = properties;
  const { t, format } = useWords();
  const atWork = useStore(device, (now) => now.state?.model ?? null);
  const isBusy = useStore(device, (now) => (now.state?.swap.state ?? 'idle') !== 'idle');
  const action = useAction();
  const others = available.filter(({ id }) => !installed.some((model) => model.id === id));
  const pull = (id: string): void => void action.run(() => pullModel(id), t.device.pulled(id)).then(onChange);
  return (
    <>
      {action.error === null ? null : <ErrorNote error={action.error} />}
      {broken.map(({ id, error }) => (
        <p class="note bad" key={id}>
          {id}: <span lang="en">{error}</span>
        </p>
      ))}
      <ul class="models">
        {installed.map(({ id, title, audioset_map: score, bundled }) => (
          <li key={id}>
            <span class="model-name">
              <strong>{title}</strong> <span class="dim">{id}</span>
            </span>
            <span class="dim figures">
              {score === null ? '' : t.device.accuracy(format.number(score, 3))}
            </span>
            {id === atWork ? (
              <span class="badge ok">{t.device.isAtWork}</span>
            ) : bundled ? (
              <span class="badge">{t.device.bundled}</span>
            ) : (
              <ConfirmButton
                label={t.device.remove}
                question={t.device.removeQuestion(title)}
                confirm={t.device.remove}
                isBusy={action.isBusy}
                onConfirm={() =>
                  void action
                    .run(() => request('model/remove', { id }), t.device.removed(title))
                    .then(onChange)
                }
              />
            )}
          </li>
        ))}
      </ul>
      <Installable models={others} isBusy={isBusy || action.isBusy} onPull={pull} />
      <p class="dim setting-note">{t.device.accuracyHelp}</p>
    </>
  );
}

/** The list is shown as it is where it is no longer than this. */
const FEW = 8;

/** Models of the catalogue that are not here yet; folded up where they are many, and then to be searched. */
function Installable(properties: {
  models: readonly Available[];
  isBusy: boolean;
  onPull: (id: string) => void;
}): JSX.Element | null {
  const { models, isBusy, onPull } = properties;
  const { t } = useWords();
  const [typed, setTyped] = useState('');
  if (models.length === 0) return null;
  const words = typed.toLowerCase().split(/\s+/);
  const found = models.filter(({ id, title }) =>
    words.every((word) => `${id} ${title}`.toLowerCase().includes(word)),
  );
  const list = (
    <ul class="models">
      {found.map((model) => (
        <InstallableRow key={model.id} model={model} isBusy={isBusy} onPull={onPull} />
      ))}
    </ul>
  );
  if (models.length <= FEW) return <div class="more">{list}</div>;
  return (
    <details class="more">
      <summary>{t.device.more(models.length)}</summary>
      <label class="inline">
        <span>{t.device.find}</span>
        <input type="search" value={typed} onInput={({ currentTarget }) => setTyped(currentTarget.value)} />
      </label>
      {found.length === 0 ? <p class="dim">{t.device.noneFound}</p> : list}
    </details>
  );
}

function InstallableRow(properties: {
  model: Available;
  isBusy: boolean;
  onPull: (id: string) => void;
}): JSX.Element {
  const { model, isBusy, onPull } = properties;
  const { id, title, audioset_map: score, bytes, licence } = model;
  const { t, format } = useWords();
  const told = [
    score === null ? null : t.device.accuracy(format.number(score, 3)),
    bytes === null ? null : format.bytes(bytes),
    licence,
  ].filter((part) => part !== null);
  return (
    <li>
      <span class="model-name">
        <strong>{title}</strong> <span class="dim">{id}</span>
      </span>
      <span class="dim figures">{told.join(' · ')}</span>
      <button
        type="button"
        aria-label={`${t.device.pull}: ${title}`}
        disabled={isBusy}
        onClick={() => onPull(id)}
      >
        {t.device.pull}
      </button>
    </li>
  );
}
