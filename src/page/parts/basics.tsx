import type { ComponentChildren, JSX } from 'preact';
import { useEffect, useId, useRef, useState } from 'preact/hooks';
import { RequestError } from '../api/request.js';
import { announce } from './announcer.js';
import { useWords, type Texts } from '../texts/index.js';

/** A name out of the world of sounds: AudioSet's names are English, whatever the language of the page. */
export function SoundName({ children }: { children: string }): JSX.Element {
  return (
    <span lang="en" class="sound-name">
      {children}
    </span>
  );
}

export function Card(properties: {
  title: string;
  children: ComponentChildren;
  aside?: ComponentChildren;
  /** As a class, for what is laid out in another way. */
  kind?: string;
}): JSX.Element {
  const { title, children, aside, kind = '' } = properties;
  const id = useId();
  return (
    <section class={`card ${kind}`} aria-labelledby={id}>
      <div class="card-head">
        <h2 id={id}>{title}</h2>
        {aside}
      </div>
      {children}
    </section>
  );
}

/** What went wrong, for people. */
export function errorText(error: unknown, t: Texts): string {
  if (!(error instanceof RequestError)) return error instanceof Error ? error.message : String(error);
  return Object.hasOwn(t.errors, error.code) ? t.errors[error.code]! : error.message;
}

export function ErrorNote({ error, again }: { error: unknown; again?: () => void }): JSX.Element {
  const { t } = useWords();
  return (
    <p class="note bad" role="alert">
      {errorText(error, t)}
      {again === undefined ? null : (
        <>
          {' '}
          <button type="button" class="plain" onClick={again}>
            {t.again}
          </button>
        </>
      )}
    </p>
  );
}

/** How an action goes. */
export interface Action {
  isBusy: boolean;
  error: unknown;
  /** Carries it out; says `done` where it went well. Resolves to whether it did. */
  run(work: () => Promise<unknown>, done: string): Promise<boolean>;
}

export function useAction(): Action {
  const [state, setState] = useState<{ isBusy: boolean; error: unknown }>({ isBusy: false, error: null });
  const isThere = useRef(true);
  useEffect(
    () => () => {
      isThere.current = false;
    },
    [],
  );
  const set = (next: { isBusy: boolean; error: unknown }): void => {
    if (isThere.current) setState(next);
  };
  return {
    ...state,
    async run(work, done) {
      set({ isBusy: true, error: null });
      try {
        await work();
        announce(done);
        set({ isBusy: false, error: null });
        return true;
      } catch (error) {
        set({ isBusy: false, error });
        return false;
      }
    },
  };
}

/** Asks before something is done that cannot be undone. */
export function ConfirmButton(properties: {
  label: string;
  question: string;
  confirm: string;
  isBusy: boolean;
  onConfirm: () => void;
}): JSX.Element {
  const { label, question, confirm, isBusy, onConfirm } = properties;
  const { t } = useWords();
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  const close = (): void => dialog.current?.close();
  return (
    <>
      <button type="button" class="danger" disabled={isBusy} onClick={() => dialog.current?.showModal()}>
        {label}
      </button>
      <dialog ref={dialog} aria-labelledby={id}>
        <p id={id}>{question}</p>
        <div class="actions">
          <button type="button" onClick={close}>
            {t.cancel}
          </button>
          <button
            type="button"
            class="danger"
            onClick={() => {
              close();
              onConfirm();
            }}
          >
            {confirm}
          </button>
        </div>
      </dialog>
    </>
  );
}

/** How far something is, 0 to 1; null where that is not known. */
export function Progress({ label, value }: { label: string; value: number | null }): JSX.Element {
  return <progress aria-label={label} max={1} {...(value === null ? {} : { value })} />;
}
