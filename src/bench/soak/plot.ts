import { escapeHtml, niceTicks } from '../models/svg.js';

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
}

/** Told apart by people who do not see red or green, too (Okabe and Ito's palette). */
const COLOURS = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#555555'];
const WIDTH = 900;
const HEIGHT = 260;
const LEFT = 64;
const RIGHT = 16;
const TOP = 12;
const BOTTOM = 40;

/** A plot as SVG within a figure with its legend; says so where there is nothing to draw. The y axis begins at 0. */
export function renderPlot(plot: Plot): string {
  const lines = plot.lines.filter(({ points }) => points.some(([, y]) => y !== null));
  const caption = `<figcaption>${escapeHtml(plot.title)}</figcaption>`;
  if (lines.length === 0) return `<figure>${caption}<p>Nothing was measured.</p></figure>`;
  const all = lines.flatMap(({ points }) => points);
  const xs = all.map(([x]) => x);
  const ys = all.flatMap(([, y]) => y ?? []);
  const least = (values: readonly number[]) => values.reduce((a, b) => Math.min(a, b), Infinity);
  const most = (values: readonly number[]) => values.reduce((a, b) => Math.max(a, b), -Infinity);
  const [x0, x1] = [least(xs), Math.max(most(xs), least(xs) + 1e-9)];
  const highest = Math.max(most(ys), plot.limit ?? 0);
  // Of what stayed at 0 one unit is shown.
  const top = highest > 0 ? highest * 1.05 : 1;
  const place = (value: number) => value.toFixed(1);
  const px = (x: number) => place(LEFT + ((x - x0) / (x1 - x0)) * (WIDTH - LEFT - RIGHT));
  const py = (y: number) => place(HEIGHT - BOTTOM - (y / top) * (HEIGHT - TOP - BOTTOM));
  const text = (x: string | number, y: string | number, anchor: string, words: string, more = '') =>
    `<text x="${x}" y="${y}" text-anchor="${anchor}"${more}>${escapeHtml(words)}</text>`;
  const bottom = HEIGHT - BOTTOM;
  const parts = [
    ...niceTicks(0, top, 5).map(
      (y) =>
        `<path class="grid" d="M${LEFT} ${py(y)}H${WIDTH - RIGHT}"/>${text(LEFT - 6, Number(py(y)) + 4, 'end', String(y))}`,
    ),
    ...niceTicks(x0, x1, 8).map(
      (x) => `<path class="grid" d="M${px(x)} ${bottom}v4"/>${text(px(x), bottom + 16, 'middle', String(x))}`,
    ),
    ...(plot.marks ?? [])
      .filter((x) => x >= x0 && x <= x1)
      .map((x) => `<path class="mark" d="M${px(x)} ${bottom}v-6"/>`),
    ...(plot.limit === undefined
      ? []
      : [`<path class="limit" d="M${LEFT} ${py(plot.limit)}H${WIDTH - RIGHT}"/>`]),
    ...lines.map(({ points }, index) => {
      let pen = 'M';
      const path = points.map(([x, y]) => {
        if (y === null) {
          pen = 'M';
          return '';
        }
        const step = `${pen}${px(x)} ${py(y)}`;
        pen = 'L';
        return step;
      });
      return `<path class="line" stroke="${COLOURS[index % COLOURS.length]}" d="${path.join('')}"/>`;
    }),
    text(WIDTH / 2, HEIGHT - 6, 'middle', plot.xLabel),
    text(14, HEIGHT / 2, 'middle', plot.yLabel, ` transform="rotate(-90 14 ${HEIGHT / 2})"`),
  ];
  const legend = lines.map(
    ({ name }, index) =>
      `<span><i style="background:${COLOURS[index % COLOURS.length]}"></i>${escapeHtml(name)}</span>`,
  );
  return `<figure>${caption}<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escapeHtml(plot.title)}">${parts.join('')}</svg><div class="legend">${legend.join('')}</div></figure>`;
}
