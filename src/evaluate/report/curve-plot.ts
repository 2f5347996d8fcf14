import { axes, element, escapeHtml, linearScale, picture, tip, type Frame } from '../../bench/page/svg.js';
import type { LabelReport } from './report.js';

/** As many as the style of the page has. */
export const CURVE_COLOURS = 7;
const FRAME: Frame = { width: 300, height: 220, left: 34, right: 8, top: 24, bottom: 36 };
const TICKS = 5;
const DOT_RADIUS = 4;

/** The precision–recall curves of one label, a line for each model. */
export function curvePlot(
  name: string,
  lines: readonly { id: string; index: number; label: LabelReport }[],
): string {
  const x = linearScale([0, 1], [FRAME.left, FRAME.width - FRAME.right], TICKS);
  const y = linearScale([0, 1], [FRAME.height - FRAME.bottom, FRAME.top], TICKS);
  const one = (value: number) => value.toFixed(1);
  const drawn = lines.map(({ id, index, label }) => {
    const colour = index % CURVE_COLOURS;
    const [first] = label.curve;
    const path = [{ precision: first?.precision ?? 0, recall: 0 }, ...label.curve]
      .map(({ precision, recall }, at) => `${at === 0 ? 'M' : 'L'}${one(x(recall))} ${one(y(precision))}`)
      .join('');
    const told = tip(
      `${id}: average precision ${label.average_precision?.toFixed(3) ?? '–'}, in ${label.positives} pieces`,
    );
    return (
      element('path', { class: `line line-${colour}`, d: path }, told) + dot(x, y, colour, id, label.in_force)
    );
  });
  const format = (value: number) => String(value);
  const content =
    axes(FRAME, { scale: x, name: 'recall', format }, { scale: y, name: 'precision', format }) +
    drawn.join('');
  const best = lines.map(({ label }) => label.average_precision?.toFixed(3) ?? '–').join(' · ');
  return `<figure><figcaption>${escapeHtml(name)} <span class="dim">${best}</span></figcaption>${picture({ ...FRAME, width: FRAME.width }, `Precision and recall of ${name}`, content)}</figure>`;
}

/** Where the threshold that holds puts a model. */
function dot(
  x: (value: number) => number,
  y: (value: number) => number,
  colour: number,
  id: string,
  decision: LabelReport['in_force'],
): string {
  if (decision?.precision == null) return '';
  const { precision, recall, threshold } = decision;
  return element(
    'circle',
    { class: `line line-${colour}`, cx: x(recall), cy: y(precision), r: DOT_RADIUS },
    tip(
      `${id} with the threshold ${Number(threshold.toPrecision(3))}: precision ${precision.toFixed(2)}, recall ${recall.toFixed(2)}`,
    ),
  );
}
