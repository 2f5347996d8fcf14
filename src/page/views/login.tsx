import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import { login } from '../api/request.js';
import { Card, ErrorNote, useAction } from '../parts/basics.js';
import { useWords } from '../texts/index.js';

/** Asks for the password. */
export function LoginView({ onIn }: { onIn: () => void }): JSX.Element {
  const { t } = useWords();
  const [password, setPassword] = useState('');
  const action = useAction();
  return (
    <div class="login">
      <h1>Soundpost</h1>
      <Card title={t.login.title}>
        <form
          onSubmit={(event) => {
            event.preventDefault();
            void action.run(() => login(password), t.login.isIn).then((isDone) => isDone && onIn());
          }}
        >
          <label class="stacked">
            <span>{t.login.password}</span>
            <input
              type="password"
              autocomplete="current-password"
              value={password}
              onInput={({ currentTarget }) => setPassword(currentTarget.value)}
            />
          </label>
          <button type="submit" class="primary" disabled={action.isBusy || password === ''}>
            {t.login.enter}
          </button>
          {action.error === null ? null : <ErrorNote error={action.error} />}
        </form>
      </Card>
    </div>
  );
}
