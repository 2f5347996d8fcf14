/** Text for HTML and SVG, in an attribute too. */
export function escapeHtml(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&#39;');
}

/** An element; attributes are escaped, the content is markup already. */
export function element(
  name: string,
  attributes: Readonly<Record<string, string | number>>,
  content = '',
): string {
  const list = Object.entries(attributes)
    .map(
      ([key, value]) => ` ${key}="${escapeHtml(typeof value === 'number' ? String(round(value)) : value)}"`,
    )
    .join('');
  return `<${name}${list}>${content}</${name}>`;
}

/** A text at a place. */
export function label(
  x: number,
  y: number,
  text: string,
  attributes: Readonly<Record<string, string | number>> = {},
): string {
  return element('text', { x, y, ...attributes }, escapeHtml(text));
}

/** What is shown when the pointer rests on an element. */
export const tip = (text: string): string => `<title>${escapeHtml(text)}</title>`;

/** A tenth of a pixel is enough. */
function round(value: number): number {
  return Math.round(value * 10) / 10;
}

/** From values to places, with the values that get a mark. */
export interface Scale {
  (value: number): number;
  readonly ticks: readonly number[];
}

function stepOf(low: number, high: number, count: number): number {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * ([1, 2, 5, 10].find((factor) => factor * power >= rough) ?? 10);
}

/** Round numbers between two values: 1, 2 or 5 times a power of ten apart, about `count` of them. */
export function niceTicks(low: number, high: number, count: number): number[] {
  if (!(high > low)) return [low];
  const step = stepOf(low, high, count);
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, index) =>
    // Through a decimal text, or 0.3 becomes 0.30000000000000004.
    Number(((first + index) * step).toPrecision(12)),
  );
}

/** The nearest values outside of `low` and `high` that get a mark, so that an axis begins and ends with one. */
export function niceRange(low: number, high: number, count = 6): [number, number] {
  if (!(high > low))
    return niceRange(low - (Math.abs(low) || 1) / 10, low + (Math.abs(low) || 1) / 10, count);
  const step = stepOf(low, high, count);
  const multiple = (factor: number) => Number((factor * step).toPrecision(12));
  const range: [number, number] = [
    multiple(Math.floor(low / step + 1e-9)),
    multiple(Math.ceil(high / step - 1e-9)),
  ];
  // Over the wider range the marks may be farther apart than over the values.
  return stepOf(...range, count) === step ? range : niceRange(...range, count);
}

/** Over more powers of ten than this only they get marks on a logarithmic axis. */
const MOST_DECADES = 3;

/** The same where equal steps are equal ratios: 1, 2 or 5 times a power of ten. Both values are above 0. */
export function niceLogRange(low: number, high: number): [number, number] {
  const marks = (value: number) =>
    [0.5, 1, 2, 5, 10].map((factor) =>
      Number((factor * 10 ** Math.floor(Math.log10(value))).toPrecision(12)),
    );
  const from = marks(low).findLast((mark) => mark <= low * (1 + 1e-9))!;
  const to = marks(high).find((mark) => mark >= high * (1 - 1e-9))!;
  if (Math.log10(to / from) > MOST_DECADES) {
    return [10 ** Math.floor(Math.log10(from)), 10 ** Math.ceil(Math.log10(to))].map((value) =>
      Number(value.toPrecision(12)),
    ) as [number, number];
  }
  return to > from ? [from, to] : [from, from * 2];
}

/** Equal steps. */
export function linearScale(
  [low, high]: readonly [number, number],
  [from, to]: readonly [number, number],
  count = 6,
): Scale {
  const span = high - low || 1;
  return Object.assign((value: number) => from + ((value - low) / span) * (to - from), {
    ticks: niceTicks(low, high, count),
  });
}

/** Equal ratios; the marks are 1, 2 and 5 times powers of ten, or the powers alone over many decades. */
export function logScale(
  [low, high]: readonly [number, number],
  [from, to]: readonly [number, number],
): Scale {
  const [least, greatest] = [Math.log10(low), Math.log10(high)];
  const span = greatest - least || 1;
  const ticks: number[] = [];
  for (let decade = Math.floor(least); decade <= Math.ceil(greatest); decade += 1) {
    for (const factor of span > MOST_DECADES ? [1] : [1, 2, 5]) {
      const tick = Number((factor * 10 ** decade).toPrecision(12));
      if (tick >= low * (1 - 1e-9) && tick <= high * (1 + 1e-9)) ticks.push(tick);
    }
  }
  return Object.assign((value: number) => from + ((Math.log10(value) - least) / span) * (to - from), {
    ticks,
  });
}

/** The frame of a plot. */
export interface Frame {
  width: number;
  height: number;
  left: number;
  right: number;
  top: number;
  bottom: number;
}

/** A rectangle in a picture that something takes up. */
export interface Box {
  left: number;
  right: number;
  top: number;
  bottom: number;
}

const CHARACTER_PX = 7.7;
const ABOVE_BASELINE_PX = 12;
const BELOW_BASELINE_PX = 4;

/** About what a text of the page's 12 px takes up; fonts differ, so rather more than less. */
export function textBox(x: number, y: number, text: string, anchor: 'start' | 'middle' | 'end'): Box {
  const width = text.length * CHARACTER_PX;
  const left = anchor === 'start' ? x : anchor === 'middle' ? x - width / 2 : x - width;
  return { left, right: left + width, top: y - ABOVE_BASELINE_PX, bottom: y + BELOW_BASELINE_PX };
}

export function overlaps(a: Box, b: Box): boolean {
  return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
}

/** A point that would like to have its name beside it. */
export interface NamedPoint {
  x: number;
  y: number;
  /** How far the name stays away. */
  radius: number;
  name: string;
}

/**
 * Names for points: each in the first of eight places around its point where it lies within the frame and covers
 * no point, no name before it and none of `obstacles`. A point without such a place gets none (`tip` tells it), so
 * put first what matters most.
 */
export function placeNames(points: readonly NamedPoint[], frame: Frame, obstacles: readonly Box[]): string {
  const taken: Box[] = points.map(({ x, y, radius }) => ({
    left: x - radius,
    right: x + radius,
    top: y - radius,
    bottom: y + radius,
  }));
  taken.push(...obstacles);
  const within = ({ left, right, top, bottom }: Box) =>
    left >= frame.left &&
    right <= frame.width - frame.right &&
    top >= frame.top &&
    bottom <= frame.height - frame.bottom;
  return points
    .map(({ x, y, radius, name }) => {
      const away = radius + 3;
      const [below, above] = [y + away + ABOVE_BASELINE_PX, y - away - BELOW_BASELINE_PX];
      const places = [
        [x + away, y + 4, 'start'],
        [x - away, y + 4, 'end'],
        [x, below, 'middle'],
        [x, above, 'middle'],
        [x + away / 2, below, 'start'],
        [x - away / 2, below, 'end'],
        [x + away / 2, above, 'start'],
        [x - away / 2, above, 'end'],
      ] as const;
      for (const [atX, atY, anchor] of places) {
        const box = textBox(atX, atY, name, anchor);
        if (!within(box) || taken.some((other) => overlaps(box, other))) continue;
        taken.push(box);
        return label(atX, atY, name, { 'text-anchor': anchor, class: 'name' });
      }
      return '';
    })
    .join('');
}

/** Grid lines and marks of both axes, with what they are. A mark whose number would touch the one before has none. */
export function axes(
  frame: Frame,
  x: { scale: Scale; name: string; format: (value: number) => string },
  y: { scale: Scale; name: string; format: (value: number) => string } | null,
): string {
  const { width, height, left, right, top, bottom } = frame;
  const floor = height - bottom;
  let free = -Infinity;
  const parts = x.scale.ticks.map((tick) => {
    const at = x.scale(tick);
    const text = x.format(tick);
    const box = textBox(at, 0, text, 'middle');
    const fits = box.left > free;
    if (fits) free = box.right + CHARACTER_PX;
    return (
      element('line', { class: 'grid', x1: at, y1: top, x2: at, y2: floor }) +
      (fits ? label(at, floor + 19, text, { 'text-anchor': 'middle' }) : '')
    );
  });
  for (const tick of y?.scale.ticks ?? []) {
    const at = y!.scale(tick);
    parts.push(
      element('line', { class: 'grid', x1: left, y1: at, x2: width - right, y2: at }) +
        label(left - 6, at + 4, y!.format(tick), { 'text-anchor': 'end' }),
    );
  }
  parts.push(
    label((left + width - right) / 2, height - 4, x.name, { 'text-anchor': 'middle', class: 'axis' }),
  );
  if (y !== null) parts.push(label(4, top - 14, y.name, { class: 'axis' }));
  return parts.join('');
}

/** What may be wider than the screen and then scrolls by itself, with the keyboard too; `name` is read out. */
export function scrolling(name: string, content: string): string {
  return element('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': name }, content);
}

/** A picture of its own; `name` is read to those who do not see it. */
export function picture(frame: Pick<Frame, 'width' | 'height'>, name: string, content: string): string {
  return element(
    'svg',
    {
      class: 'picture',
      viewBox: `0 0 ${frame.width} ${frame.height}`,
      role: 'img',
      'aria-label': name,
      style: `min-width:${Math.min(frame.width, 560)}px`,
    },
    content,
  );
}
