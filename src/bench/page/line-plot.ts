import { lightLines } from '../../common/look.js';
import {
  axes,
  element,
  escapeHtml,
  linearScale,
  niceRange,
  picture,
  scrolling,
  tip,
  type Frame,
  type Scale,
} from './svg.js';

/** One line of a plot: points from left to right, in the units of the axes; null breaks the line. */
export interface PlotLine {
  name: string;
  points: readonly (readonly [x: number, y: number | null])[];
}

export interface Plot {
  title: string;
  xLabel: string;
  yLabel: string;
  lines: readonly PlotLine[];
  /** A limit to be drawn across. */
  limit?: number;
  /** Moments to be marked on the x axis. */
  marks?: readonly number[];
  /** Where the y axis begins; 0 where left out, `values`: with a round number below the least value. */
  from?: 'values';
}

const FRAME: Frame = { width: 900, height: 280, left: 64, right: 24, top: 32, bottom: 44 };
/** Strips that tell the values below them; a pointer does not find narrower ones. */
const MOST_STRIPS = 150;

/** A plot as SVG within a figure with its legend; says so where there is nothing to draw. */
export function renderPlot(plot: Plot): string {
  const lines = plot.lines.filter(({ points }) => points.some(([, y]) => y !== null));
  const caption = `<figcaption>${escapeHtml(plot.title)}</figcaption>`;
  if (lines.length === 0) return `<figure>${caption}<p class="dim">Nothing was measured.</p></figure>`;
  const { left, right, top, bottom, width, height } = FRAME;
  const floor = height - bottom;
  const all = lines.flatMap(({ points }) => points);
  const [x0, x1] = bounds(all.map(([x]) => x));
  const [least, most] = bounds(all.flatMap(([, y]) => y ?? []).concat(plot.limit ?? []));
  // What stayed at 0 is counted in whole numbers.
  const range = plot.from === 'values' ? niceRange(least, most, 5) : niceRange(0, most > 0 ? most : 5, 5);
  const x = linearScale(niceRange(Math.min(0, x0), x1, 8), [left, width - right], 8);
  const y = linearScale(range, [floor, top], 5);
  const level = plot.limit === undefined ? null : y(plot.limit);
  const content = [
    axes(
      FRAME,
      { scale: x, name: plot.xLabel, format: String },
      { scale: y, name: plot.yLabel, format: String },
    ),
    ...(plot.marks ?? [])
      .filter((at) => at >= x0 && at <= x1)
      .map((at) => element('line', { class: 'mark', x1: x(at), y1: floor, x2: x(at), y2: floor - 6 })),
    level === null
      ? ''
      : element('line', { class: 'limit', x1: left, y1: level, x2: width - right, y2: level }),
    ...lines.map(({ points }, index) =>
      element('path', { class: `line ${colourOf(index)}`, d: pathOf(points, x, y) }),
    ),
    strips(plot, lines, x),
  ];
  const legend = lines.map(
    ({ name }, index) => `<span><i class="key ${colourOf(index)}"></i>${escapeHtml(name)}</span>`,
  );
  if (level !== null) legend.push(`<span><i class="key limits"></i>limit: ${plot.limit}</span>`);
  if ((plot.marks ?? []).length > 0) legend.push('<span>marks on the axis: swaps</span>');
  return `<figure>${caption}${scrolling(plot.title, picture(FRAME, plot.title, content.join('')))}<div class="legend">${legend.join('')}</div></figure>`;
}

/** The class of the style that has the colour of a line. */
const colourOf = (index: number): string => `colour-${index % lightLines.length}`;

function bounds(values: readonly number[]): [least: number, most: number] {
  // Not Math.min(...values): there may be more of them than a call takes.
  return [
    values.reduce((a, b) => Math.min(a, b), Infinity),
    values.reduce((a, b) => Math.max(a, b), -Infinity),
  ];
}

/** A line that is broken at nulls; a point between two breaks is a dot. */
function pathOf(points: PlotLine['points'], x: Scale, y: Scale): string {
  return points
    .map(([at, value], index) => {
      if (value === null) return '';
      const before = points[index - 1]?.[1] ?? null;
      const after = points[index + 1]?.[1] ?? null;
      const alone = before === null && after === null;
      return `${before === null ? 'M' : 'L'}${x(at).toFixed(1)} ${y(value).toFixed(1)}${alone ? 'h0' : ''}`;
    })
    .join('');
}

/** Invisible strips over the whole height: where the pointer rests on one, the values there are told. */
function strips(plot: Plot, lines: readonly PlotLine[], x: Scale): string {
  const { left, right, top, bottom, width, height } = FRAME;
  const wide = (width - left - right) / MOST_STRIPS;
  const found = new Map<number, Map<string, readonly [number, number]>>();
  for (const { name, points } of lines) {
    for (const [at, value] of points) {
      if (value === null) continue;
      const strip = Math.min(MOST_STRIPS - 1, Math.floor((x(at) - left) / wide));
      const values = found.get(strip) ?? new Map<string, readonly [number, number]>();
      found.set(strip, values);
      // The first of several: the line is drawn through all of them.
      if (!values.has(name)) values.set(name, [at, value]);
    }
  }
  const taken = [...found.keys()].sort((a, b) => a - b);
  return taken
    .map((strip, index) => {
      const values = [...found.get(strip)!];
      const at = values[0]![1][0];
      const unit = plot.yLabel === '' ? '' : ` ${plot.yLabel}`;
      const told = values.map(([name, [, value]]) => `${name}: ${figures(value)}${unit}`);
      // Up to halfway to its neighbours, so that a pointer need not be exact where there are few readings.
      const from = index === 0 ? left : left + ((taken[index - 1]! + strip + 1) / 2) * wide;
      const to =
        index === taken.length - 1 ? width - right : left + ((strip + taken[index + 1]! + 1) / 2) * wide;
      return element(
        'rect',
        { class: 'strip', x: from, y: top, width: to - from, height: height - bottom - top },
        tip(`${figures(at)} ${plot.xLabel}\n${told.join('\n')}`),
      );
    })
    .join('');
}

/** Three digits that say something. */
function figures(value: number): string {
  return String(Number(value.toPrecision(Math.abs(value) >= 1000 ? 6 : 3)));
}
