import type { JSX } from 'preact';
import { useMemo } from 'preact/hooks';
import { request } from '../api/request.js';
import { useLoaded } from '../lib/hooks.js';
import { useStore } from '../lib/store.js';
import type { Device } from '../model/device.js';
import { device } from '../model/session.js';
import { Card, ErrorNote } from '../parts/basics.js';
import { Plot, type PlotLine } from '../parts/plot.js';
import { useWords } from '../texts/index.js';

type Reading = Device['readings'][number];

/** How the device does: in words, and as plots of what it told since the page was opened. */
export function HealthView(): JSX.Element {
  const { t } = useWords();
  return (
    <>
      <h1>{t.health.title}</h1>
      <Checks />
      <Plots />
      <Logs />
    </>
  );
}

function Checks(): JSX.Element {
  const { t } = useWords();
  const { data, error, isLoading, again } = useLoaded('health', () => request('health', {}));
  const checks = [...(data?.checks ?? []), ...(data?.sources ?? [])];
  return (
    <Card
      title={t.health.checks}
      aside={
        <button type="button" disabled={isLoading} onClick={again}>
          {t.health.look}
        </button>
      }
    >
      {error === null ? null : <ErrorNote error={error} />}
      {data === null ? (
        <p class="dim">{isLoading ? t.loading : ''}</p>
      ) : (
        <ul class="checks">
          {checks.map(({ name, ok, detail }) => (
            <li key={name}>
              <span class={`badge ${ok ? 'ok' : 'warn'}`}>{ok ? t.health.ok : t.health.notOk}</span>
              <strong>{t.health.parts[name] ?? name}</strong> <span lang="en">{detail}</span>
            </li>
          ))}
        </ul>
      )}
    </Card>
  );
}

function Plots(): JSX.Element {
  const { t, format } = useWords();
  const readings = useStore(device, (now) => now.readings);
  const seconds = useMemo(() => readings.map(({ ts }) => Date.parse(ts) / 1000), [readings]);
  const line = (name: string, value: (reading: Reading) => number | null, colour: number): PlotLine => ({
    name,
    values: readings.map(value),
    colour,
  });
  const plots: { title: string; unit: string; lines: PlotLine[] }[] = useMemo(
    () => [
      {
        title: t.health.latency,
        unit: 'ms',
        lines: [
          line(t.health.median, ({ latency_ms: latency }) => latency.p50, 0),
          line(t.health.slowest, ({ latency_ms: latency }) => latency.p95, 1),
        ],
      },
      {
        title: t.health.temperature,
        unit: '°C',
        lines: [line(t.health.temperature, ({ soc }) => soc.temperature_c, 1)],
      },
      {
        title: t.health.rate,
        unit: 'Hz',
        lines: [
          line(t.health.effective, ({ rate_hz: rate }) => rate.effective, 0),
          line(t.health.measured, ({ rate_hz: rate }) => rate.measured, 2),
        ],
      },
      {
        title: t.health.dropped,
        unit: '',
        lines: [line(t.health.dropped, ({ windows }) => windows.dropped, 3)],
      },
    ],
    [readings, t],
  );
  return (
    <Card title={t.health.plots}>
      {readings.length < 2 ? <p class="dim">{t.health.collecting}</p> : null}
      <div class="plots">
        {plots.map(({ title, unit, lines }) => {
          const newest = lines.map(({ values }) => values.at(-1) ?? null);
          const told = lines
            .map(({ name }, index) => {
              const value = newest[index] ?? null;
              const figure = value === null ? '–' : `${format.number(value)} ${unit}`.trim();
              return lines.length < 2 ? figure : `${figure} (${name})`;
            })
            .join(', ');
          return (
            <div key={title}>
              <h3>
                {title} <span class="dim figures">{told}</span>
              </h3>
              {newest.every((value) => value === null) ? (
                <p class="dim">{t.health.unknown}</p>
              ) : (
                <Plot label={`${title}: ${told}`} seconds={seconds} lines={lines} unit={unit} height={150} />
              )}
            </div>
          );
        })}
      </div>
    </Card>
  );
}

function Logs(): JSX.Element {
  const { t, format } = useWords();
  const logs = useStore(device, (now) => now.logs);
  return (
    <Card title={t.health.messages}>
      {logs.length === 0 ? (
        <p class="dim">{t.health.noMessages}</p>
      ) : (
        <ol class="logs">
          {logs.map(({ ts, level, message }, index) => (
            <li key={`${ts}${index}`} class={level}>
              <time dateTime={ts} class="figures dim">
                {format.time(ts)}
              </time>{' '}
              <span class={`badge ${level === 'error' ? 'warn' : ''}`}>{t.health.levels[level]}</span>{' '}
              <span lang="en">{message}</span>
            </li>
          ))}
        </ol>
      )}
    </Card>
  );
}
