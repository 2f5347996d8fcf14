import type { ComponentChildren, JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { fontFamily } from '../../common/look.js';
import { useMedia, useWidth } from '../lib/hooks.js';
import { useWords, type Formats } from '../texts/index.js';

/** One line of a plot. */
export interface PlotLine {
  name: string;
  /** In the order of the times; null breaks the line. */
  values: readonly (number | null)[];
  /** Which of the colours of lines; by default its place in the list. */
  colour?: number;
}

/** Where values are in a plot, in CSS pixels from the top of the figure's plot. */
export interface PlotScale {
  top: number;
  left: number;
  width: number;
  height: number;
  /** From a value to its place, and back. */
  toY(value: number): number;
  fromY(y: number): number;
  toX(seconds: number): number;
}

/**
 * Lines over time. What it says is said in words as well (`label`): the picture itself is for the eye.
 * @param properties.seconds times, in seconds since the epoch, in order
 * @param properties.range of the values; by default from 0 to what there is
 * @param properties.over what lies over the plot, once it is known where
 */
export function Plot(properties: {
  label: string;
  seconds: readonly number[];
  lines: readonly PlotLine[];
  unit: string;
  height?: number;
  range?: readonly [low: number, high: number];
  /** From when to when; by default the times that there are. */
  span?: readonly [from: number, to: number];
  /** Whether a value holds until the next one. */
  isStepped?: boolean;
  over?: (scale: PlotScale) => ComponentChildren;
}): JSX.Element {
  const { label, seconds, lines, unit, height = 180, range, span, isStepped = false, over } = properties;
  const { format, language } = useWords();
  const isDark = useMedia('(prefers-color-scheme: dark)');
  const [frame, width] = useWidth();
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const [scale, setScale] = useState<PlotScale | null>(null);
  const names = lines.map(({ name }) => name).join('\n');
  const [low, high] = range ?? [null, null];
  const [from, to] = span ?? [null, null];

  useEffect(() => {
    if (place.current === null || width === 0) return undefined;
    const options = optionsOf({
      width,
      height,
      lines,
      isStepped,
      range: low === null ? null : [low, high],
      span: from === null ? null : [from, to],
      format,
      unit,
    });
    const made = new uPlot(
      { ...options, hooks: { draw: [(drawn) => setScale(scaleOf(drawn))] } },
      dataOf(seconds, lines),
      place.current,
    );
    plot.current = made;
    return () => {
      plot.current = null;
      made.destroy();
    };
    // A plot of other lines, or in other colours, is another plot.
  }, [width, height, names, isDark, language, low, high, from, to, unit]);
  useEffect(() => plot.current?.setData(dataOf(seconds, lines)), [seconds, lines]);

  return (
    <figure class="plot" ref={frame}>
      <div class="plot-frame">
        <div ref={place} role="img" aria-label={label} />
        {scale === null ? null : over?.(scale)}
      </div>
      {lines.length < 2 ? null : (
        <figcaption class="legend">
          {lines.map(({ name, colour }, index) => (
            <span key={name}>
              <i class={`key colour-${colour ?? index}`} />
              {name}
            </span>
          ))}
        </figcaption>
      )}
    </figure>
  );
}

function dataOf(seconds: readonly number[], lines: readonly PlotLine[]): uPlot.AlignedData {
  return [[...seconds], ...lines.map(({ values }) => [...values])];
}

function scaleOf(plot: uPlot): PlotScale {
  const ratio = uPlot.pxRatio;
  const [top, left] = [plot.bbox.top / ratio, plot.bbox.left / ratio];
  return {
    top,
    left,
    width: plot.bbox.width / ratio,
    height: plot.bbox.height / ratio,
    toY: (value) => top + plot.valToPos(value, 'y'),
    fromY: (y) => plot.posToVal(y - top, 'y'),
    toX: (moment) => left + plot.valToPos(moment, 'x'),
  };
}

function optionsOf(wanted: {
  width: number;
  height: number;
  lines: readonly PlotLine[];
  isStepped: boolean;
  range: [number, number] | null;
  span: [number, number] | null;
  format: Formats;
  unit: string;
}): uPlot.Options {
  const { width, height, lines, isStepped, range, span, format, unit } = wanted;
  const style = getComputedStyle(document.documentElement);
  const colour = (name: string): string => style.getPropertyValue(name).trim();
  const axis = {
    stroke: colour('--dim'),
    font: `12px ${fontFamily}`,
    grid: { stroke: colour('--line'), width: 1 },
    ticks: { stroke: colour('--line'), width: 1 },
  };
  const timeText = (moment: number, stepSeconds: number): string => {
    const date = new Date(moment * 1000);
    if (stepSeconds >= 86_400) return format.shortDate(date);
    return stepSeconds >= 60 ? format.hour(date) : format.time(date);
  };
  return {
    width,
    height,
    pxAlign: true,
    // The last time of the axis is written around its line.
    padding: [10, 28, 0, 0],
    legend: { show: false },
    cursor: { drag: { x: false, y: false }, points: { show: false } },
    scales: {
      x: { time: true, ...(span !== null && { range: span }) },
      y: {
        range:
          range ??
          ((_: uPlot, least: number | null, most: number | null): [number, number] => [
            Math.min(0, least ?? 0),
            most === null || most <= 0 ? 1 : most * 1.1,
          ]),
      },
    },
    axes: [
      {
        ...axis,
        space: format.hasHalves ? 100 : 70,
        size: 32,
        values: (_, splits, __, ___, step) => splits.map((split) => timeText(split, step)),
      },
      {
        ...axis,
        size: unit === '' ? 44 : 62,
        values: (_, splits) =>
          splits.map((split) => `${format.number(split, 2)}${unit === '' ? '' : ` ${unit}`}`),
      },
    ],
    series: [
      {},
      ...lines.map(({ name, colour: index }, at) => ({
        label: name,
        stroke: colour(`--line-${index ?? at}`),
        width: 1.75,
        ...(isStepped && { paths: uPlot.paths.stepped!({ align: 1 }) }),
        points: { show: false },
      })),
    ],
  };
}
