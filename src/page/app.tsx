import type { JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { signBars } from '../common/look.js';
import { followFeed } from './api/feed.js';
import { onSignedOut, session } from './api/request.js';
import { useNow, useRoute } from './lib/hooks.js';
import { hrefOf, type Route, type ViewName } from './lib/routes.js';
import { useStore } from './lib/store.js';
import { problemsOf } from './model/problems.js';
import { device } from './model/session.js';
import { Announcer, dismiss, tell } from './parts/announcer.js';
import { nameOf } from './parts/event-list.js';
import { chooseLanguage, languageNames, useWords, type Language } from './texts/index.js';
import { DayView } from './views/day.js';
import { DeviceView } from './views/device.js';
import { EventView } from './views/event.js';
import { HealthView } from './views/health.js';
import { HistoryView } from './views/history.js';
import { LoginView } from './views/login.js';
import { NowView } from './views/now.js';

/** The whole page. */
export function App(): JSX.Element {
  const [isIn, setIsIn] = useState<boolean | null>(null);
  useEffect(() => {
    onSignedOut(() => setIsIn(false));
    // Where the server does not answer yet, the feed goes on trying.
    session().then(
      (now) => setIsIn(now.signed_in || !now.password_required),
      () => setIsIn(true),
    );
  }, []);
  useEffect(
    () => (isIn === true ? followFeed(device, { onSignedOut: () => setIsIn(false) }) : undefined),
    [isIn],
  );
  return (
    <>
      <Shell isIn={isIn === true}>{isIn === false ? <LoginView onIn={() => setIsIn(true)} /> : null}</Shell>
      <Announcer />
    </>
  );
}

const tabs: readonly { view: ViewName; route: Route; icon: string }[] = [
  { view: 'now', route: { view: 'now' }, icon: 'M3 12h3l2-6 4 14 3-11 2 3h4' },
  { view: 'day', route: { view: 'day', date: null }, icon: 'M4 6h16v14H4zM4 10h16M8 3v4M16 3v4' },
  {
    view: 'history',
    route: { view: 'history', label: null, source: null },
    icon: 'M4 4v16h16M7 15l4-5 3 3 5-7',
  },
  { view: 'device', route: { view: 'device' }, icon: 'M5 7h14M5 12h14M5 17h14M9 5v4M15 10v4M8 15v4' },
  {
    view: 'health',
    route: { view: 'health' },
    icon: 'M12 20s-8-5-8-11a4 4 0 0 1 8-1 4 4 0 0 1 8 1c0 6-8 11-8 11z',
  },
];

function Shell({ isIn, children }: { isIn: boolean; children: JSX.Element | null }): JSX.Element {
  const { t } = useWords();
  const route = useRoute();
  const main = useRef<HTMLElement>(null);
  const isFirst = useRef(true);
  const at = hrefOf(route);
  useEffect(() => {
    document.title = `${t.views[route.view]} · Soundpost`;
  }, [t, route.view]);
  // As on another page: what is read begins at its top. The choice of another label is not another page.
  useEffect(() => {
    if (!isFirst.current) {
      dismiss();
      scrollTo(0, 0);
      main.current?.focus({ preventScroll: true });
    }
    isFirst.current = false;
  }, [route.view === 'event' ? at : route.view]);
  return (
    <>
      <button type="button" class="skip" onClick={() => main.current?.focus()}>
        {t.skip}
      </button>
      <header class="top">
        <div class="top-in">
          <a href="#/now" class="brand">
            <Bars /> Soundpost
          </a>
          <DeviceName />
          {isIn ? <Navigation current={route.view === 'event' ? 'day' : route.view} /> : null}
          <LanguageChoice />
        </div>
      </header>
      <main ref={main} tabIndex={-1}>
        {isIn ? (
          <>
            <Problems />
            <HeardTeller />
            <View route={route} />
          </>
        ) : (
          children
        )}
      </main>
    </>
  );
}

function View({ route }: { route: Route }): JSX.Element {
  switch (route.view) {
    case 'now':
      return <NowView />;
    case 'day':
      return <DayView date={route.date} />;
    case 'event':
      return <EventView key={route.id} id={route.id} at={route.at} />;
    case 'history':
      return <HistoryView label={route.label} source={route.source} />;
    case 'device':
      return <DeviceView />;
    case 'health':
      return <HealthView />;
  }
}

function Bars(): JSX.Element {
  return (
    <svg class="logo" viewBox="0 0 32 32" aria-hidden="true">
      <rect width="32" height="32" rx="8" class="logo-back" />
      <path d={signBars} class="logo-bars" />
    </svg>
  );
}

function DeviceName(): JSX.Element {
  const { t } = useWords();
  const name = useStore(device, (now) => now.info?.device.name ?? '');
  const connection = useStore(device, (now) => now.connection);
  return (
    <span class="device-name">
      <span class={`dot ${connection}`} aria-hidden="true" />
      <span class="unseen">{t.connection[connection]}: </span>
      <span class="device-name-text">{name}</span>
    </span>
  );
}

function Navigation({ current }: { current: ViewName }): JSX.Element {
  const { t } = useWords();
  return (
    <nav aria-label={t.navigation}>
      <ul>
        {tabs.map(({ view, route, icon }) => (
          <li key={view}>
            <a href={hrefOf(route)} aria-current={view === current ? 'page' : undefined}>
              <svg viewBox="0 0 24 24" aria-hidden="true">
                <path d={icon} />
              </svg>
              <span>{t.views[view]}</span>
            </a>
          </li>
        ))}
      </ul>
    </nav>
  );
}

function LanguageChoice(): JSX.Element {
  const { t, language } = useWords();
  return (
    <select
      class="language"
      aria-label={t.language}
      value={language}
      onChange={({ currentTarget: { value } }) => chooseLanguage(value as Language)}
    >
      {(Object.keys(languageNames) as Language[]).map((name) => (
        <option key={name} value={name} lang={name}>
          {languageNames[name]}
        </option>
      ))}
    </select>
  );
}

/** What is wrong, above whatever one is looking at. */
function Problems(): JSX.Element {
  const { t, format } = useWords();
  const now = useStore(device, (known) => known);
  const version = now.info?.version;
  const first = useRef(version);
  first.current ??= version;
  const isOtherVersion = version !== first.current;
  const nowMs = useNow(30_000);
  const problems = problemsOf(now, t, format.time, nowMs);
  return (
    <div class="problems" role="region" aria-label={t.problems.title} aria-live="polite">
      {problems.map(({ id, isBad, text, isEnglish }) => (
        <p key={id} class={`note ${isBad ? 'bad' : 'warn'}`} {...(isEnglish === true ? { lang: 'en' } : {})}>
          {text}
        </p>
      ))}
      {isOtherVersion ? (
        <p class="note warn">
          {t.problems.updated}{' '}
          <button type="button" class="plain" onClick={() => location.reload()}>
            {t.problems.reload}
          </button>
        </p>
      ) : null}
    </div>
  );
}

/** Tells a screen reader what was heard, now and then. */
function HeardTeller(): null {
  const { t } = useWords();
  const newest = useStore(device, (now) => now.events[0]);
  const known = useRef(newest?.id);
  useEffect(() => {
    if (newest === undefined || newest.id === known.current) return;
    known.current = newest.id;
    tell(t.now.heard(nameOf(newest)));
  }, [newest?.id]);
  return null;
}
