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
    .map(([key, value]) => ` ${key}="${escapeHtml(typeof value === 'number' ? String(round(value)) : value)}"`)
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

/** Round numbers between two values: 1, 2 or 5 times a power of ten apart, about `count` of them. */
export function niceTicks(low: number, high: number, count: number): number[] {
  if (!(high > low)) return [low];
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5, 10].find((factor) => factor * power >= rough) ?? 10);
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, index) =>
    // Through a decimal text, or 0.3 becomes 0.30000000000000004.
    Number(((first + index) * step).toPrecision(12)),
  );
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
    for (const factor of span > 3 ? [1] : [1, 2, 5]) {
      const tick = Number((factor * 10 ** decade).toPrecision(12));
      if (tick >= low * (1 - 1e-9) && tick <= high * (1 + 1e-9)) ticks.push(tick);
    }
  }
  return Object.assign(
    (value: number) => from + ((Math.log10(value) - least) / span) * (to - from),
    { ticks },
  );
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

/** Grid lines and marks of both axes, with what they are. */
export function axes(
  frame: Frame,
  x: { scale: Scale; name: string; format: (value: number) => string },
  y: { scale: Scale; name: string; format: (value: number) => string } | null,
): string {
  const { width, height, left, right, top, bottom } = frame;
  const floor = height - bottom;
  const parts = x.scale.ticks.map((tick) => {
    const at = x.scale(tick);
    return (
      element('line', { class: 'grid', x1: at, y1: top, x2: at, y2: floor }) +
      label(at, floor + 16, x.format(tick), { 'text-anchor': 'middle' })
    );
  });
  for (const tick of y?.scale.ticks ?? []) {
    const at = y!.scale(tick);
    parts.push(
      element('line', { class: 'grid', x1: left, y1: at, x2: width - right, y2: at }) +
        label(left - 6, at + 4, y!.format(tick), { 'text-anchor': 'end' }),
    );
  }
  parts.push(label((left + width - right) / 2, height - 4, x.name, { 'text-anchor': 'middle', class: 'axis' }));
  if (y !== null) parts.push(label(4, top - 8, y.name, { class: 'axis' }));
  return parts.join('');
}

/** A picture of its own; `name` is read to those who do not see it. */
export function picture(frame: Pick<Frame, 'width' | 'height'>, name: string, content: string): string {
  return element(
    'svg',
    {
      viewBox: `0 0 ${frame.width} ${frame.height}`,
      role: 'img',
      'aria-label': name,
      style: `min-width:${Math.min(frame.width, 560)}px`,
    },
    content,
  );
}
