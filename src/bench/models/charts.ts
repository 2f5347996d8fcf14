import type { Bin } from './distribution.js';
import type { BenchRow, ModelBenchReport } from './model-bench-report.js';
import {
  axes,
  element,
  label,
  linearScale,
  logScale,
  niceLogRange,
  niceRange,
  picture,
  placeNames,
  tip,
  type Box,
  type Frame,
} from '../page/svg.js';
import { paretoRows, short } from './table.js';

const WIDTH = 860;
/** A longer name would run out of the picture on the left; the tip has the whole. */
const LONGEST_NAME = 28;

/** Round room around values, so that no point lies on the frame. */
const roomy = (values: readonly number[], part: number): [number, number] => {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const room = (high - low || Math.abs(high) || 1) * part;
  return niceRange(low - room, high + room);
};

const FRONT_RADIUS = 6;
const DOT_RADIUS = 4.5;

/** What a line between two places takes up. */
const thin = (x1: number, y1: number, x2: number, y2: number): Box => ({
  left: Math.min(x1, x2) - 1,
  right: Math.max(x1, x2) + 1,
  top: Math.min(y1, y2) - 1,
  bottom: Math.max(y1, y2) + 1,
});

const nameOf = (row: BenchRow, report: ModelBenchReport) =>
  report.settings.threads.length > 1 ? `${row.id} ×${row.threads}` : row.id;

const shortened = (name: string) =>
  name.length <= LONGEST_NAME ? name : `${name.slice(0, LONGEST_NAME - 1)}…`;

/** Published mAP against the mean latency of a clip, the Pareto front as a line; null where nothing has both. */
export function mapAgainstLatency(report: ModelBenchReport): string | null {
  const points = report.rows.flatMap((row) => {
    const ms = row.result?.clip_ms.total?.mean;
    return ms === undefined || row.published_map === null ? [] : [{ row, ms, map: row.published_map }];
  });
  if (points.length === 0) return null;
  const frame: Frame = { width: WIDTH, height: 460, left: 52, right: 24, top: 34, bottom: 44 };
  const latencies = points.map(({ ms }) => ms);
  const x = logScale(niceLogRange(Math.min(...latencies) / 1.25, Math.max(...latencies) * 1.25), [
    frame.left,
    frame.width - frame.right,
  ]);
  const y = linearScale(
    roomy(
      points.map(({ map }) => map),
      0.08,
    ),
    [frame.height - frame.bottom, frame.top],
  );
  const front = paretoRows(report.rows);
  const onFront = points.filter(({ row }) => front.has(row)).sort((a, b) => a.ms - b.ms || a.map - b.map);
  // A step: between two points of the front, the cheaper one is the best there is.
  const path = onFront
    .map(({ ms, map }, index) => (index === 0 ? `M${x(ms)} ${y(map)}` : `H${x(ms)}V${y(map)}`))
    .join('');
  // The front last, so that it lies on top.
  const dots = [...points]
    .sort((a, b) => Number(front.has(a.row)) - Number(front.has(b.row)))
    .map(({ row, ms, map }) =>
      element(
        'circle',
        {
          class: front.has(row) ? 'front' : 'dot',
          cx: x(ms),
          cy: y(map),
          r: front.has(row) ? FRONT_RADIUS : DOT_RADIUS,
        },
        tip(`${nameOf(row, report)}: mAP ${map.toFixed(3)}, ${short(ms)} ms`),
      ),
    );
  const places = points.map(({ row, ms, map }) => ({
    x: x(ms),
    y: y(map),
    radius: front.has(row) ? FRONT_RADIUS : DOT_RADIUS,
    name: nameOf(row, report),
    isFront: front.has(row),
  }));
  // The front first, so that its names find a place.
  places.sort((a, b) => Number(b.isFront) - Number(a.isFront) || a.x - b.x);
  const steps = onFront.slice(1).flatMap(({ ms, map }, index) => {
    const before = onFront[index]!;
    return [
      thin(x(before.ms), y(before.map), x(ms), y(before.map)),
      thin(x(ms), y(before.map), x(ms), y(map)),
    ];
  });
  return picture(
    frame,
    'Published mAP against latency',
    axes(
      frame,
      { scale: x, name: 'latency of a clip, ms (mean; logarithmic)', format: String },
      { scale: y, name: 'mAP', format: (value) => value.toFixed(2) },
    ) +
      (onFront.length > 1 ? element('path', { class: 'front-line', d: path }) : '') +
      dots.join('') +
      placeNames(places, frame, steps),
  );
}

/** Each model's clips on a common logarithmic axis: the higher, the more of them took so long. */
export function latencyDistributions(report: ModelBenchReport): string | null {
  const rows = report.rows
    .flatMap((row) => {
      const total = row.result?.clip_ms.total ?? null;
      return total === null || row.result === null ? [] : [{ row, total, bins: row.result.clip_bins }];
    })
    .sort((a, b) => a.total.p50 - b.total.p50);
  if (rows.length === 0) return null;
  const line = 26;
  const frame: Frame = {
    width: WIDTH,
    height: 24 + line * rows.length + 44,
    left: 210,
    right: 24,
    top: 24,
    bottom: 44,
  };
  const low = Math.min(...rows.flatMap(({ bins }) => bins.slice(0, 1).map(({ from }) => from)));
  const high = Math.max(...rows.flatMap(({ bins }) => bins.slice(-1).map(({ to }) => to)));
  const x = logScale(niceLogRange(low, high), [frame.left, frame.width - frame.right]);
  const strips = rows.map(({ row, total, bins }, index) => {
    const base = frame.top + line * (index + 1) - 4;
    const text = `${nameOf(row, report)}: p50 ${short(total.p50)}, p95 ${short(total.p95)}, p99 ${short(total.p99)}, max ${short(total.max)} ms, ${total.count} clips`;
    const mark = (value: number, kind: string) =>
      element('line', { class: kind, x1: x(value), y1: base - line + 8, x2: x(value), y2: base });
    return element(
      'g',
      {},
      tip(text) +
        label(frame.left - 8, base - 3, shortened(nameOf(row, report)), {
          'text-anchor': 'end',
          class: 'name',
        }) +
        element('path', { class: 'hill', d: hill(bins, x, base, line - 8) }) +
        mark(total.p50, 'median') +
        mark(total.p99, 'tail'),
    );
  });
  return picture(
    frame,
    'Distribution of the latency of each model',
    axes(
      frame,
      { scale: x, name: 'latency of a clip, ms (logarithmic); lines: p50 and p99', format: String },
      null,
    ) + strips.join(''),
  );
}

/** The outline of a histogram; roots of the counts, so that few slow ones are still seen. */
function hill(bins: readonly Bin[], x: (value: number) => number, base: number, height: number): string {
  const most = Math.max(...bins.map(({ count }) => count));
  const one = (value: number) => value.toFixed(1);
  const tops = bins.map(({ from, to, count }) => {
    const top = one(base - height * Math.sqrt(count / most));
    return `L${one(x(from))} ${top}L${one(x(to))} ${top}`;
  });
  return `M${one(x(bins[0]!.from))} ${base}${tops.join('')}L${one(x(bins.at(-1)!.to))} ${base}Z`;
}

/** The chip's temperature over the run, with the model at work; null where there is no sensor. */
export function temperatureOverTime(report: ModelBenchReport): string | null {
  const points = report.sensors.flatMap(({ t_s: t, temperature_c: c }) => (c === null ? [] : [{ t, c }]));
  const last = points.at(-1);
  if (last === undefined) return null;
  const frame: Frame = { width: WIDTH, height: 320, left: 52, right: 24, top: 34, bottom: 44 };
  const x = linearScale(niceRange(0, Math.max(last.t, 1), 8), [frame.left, frame.width - frame.right], 8);
  const y = linearScale(
    roomy(
      points.map(({ c }) => c),
      0.15,
    ),
    [frame.height - frame.bottom, frame.top],
  );
  const floor = frame.height - frame.bottom;
  const bands = report.rows.map((row, index) =>
    element(
      'rect',
      {
        class: index % 2 === 0 ? 'band' : 'band odd',
        x: x(row.from_s),
        y: frame.top,
        width: Math.max(0.5, x(row.to_s) - x(row.from_s)),
        height: floor - frame.top,
      },
      tip(`${nameOf(row, report)}: ${row.sensors?.temperature_c.peak?.toFixed(1) ?? '–'} °C at most`),
    ),
  );
  const path = points.map(({ t, c }, i) => `${i === 0 ? 'M' : 'L'}${x(t).toFixed(1)} ${y(c).toFixed(1)}`);
  const readings = points.map(({ t, c }) =>
    element(
      'circle',
      { class: 'reading', cx: x(t), cy: y(c), r: 5 },
      tip(`${c.toFixed(1)} °C after ${Math.round(t)} s`),
    ),
  );
  return picture(
    frame,
    'Temperature over time',
    bands.join('') +
      axes(
        frame,
        { scale: x, name: 'seconds since the run began', format: String },
        { scale: y, name: '°C', format: (value) => String(value) },
      ) +
      element('path', { class: 'temperature', d: path.join('') }) +
      element('g', {}, readings.join('')),
  );
}
