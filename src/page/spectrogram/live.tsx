import type { JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { addressOf } from '../api/request.js';
import { useMedia, useWidth } from '../lib/hooks.js';
import { useWords } from '../texts/index.js';
import { colourColumns, colourTable } from './colours.js';
import {
  createColumnRing,
  rangeOf,
  readColumns,
  type ColumnRing,
  type ColumnsMessage,
  type ValueRange,
} from './columns.js';
import { takePlace } from './places.js';

const SECONDS = 20;
const HEIGHT = 160;
/** What has come is shown a little later, so that the picture moves evenly. */
const LAG_MS = 300;
const FARTHEST_MS = 2000;

/** The sound as the network sees it, moving from right to left; computed by the device only while it is on the screen. */
export function LiveSpectrogram({ source, label }: { source: string; label: string }): JSX.Element {
  const { t } = useWords();
  const canvas = useRef<HTMLCanvasElement>(null);
  const [frame, width] = useWidth();
  const isDark = useMedia('(prefers-color-scheme: dark)');
  const isStill = useMedia('(prefers-reduced-motion: reduce)');
  const [state, setState] = useState<'waiting' | 'live' | 'full' | 'none'>('waiting');
  const painter = useRef<Painter | null>(null);
  painter.current ??= createPainter();

  useEffect(() => {
    if (frame.current === null) return undefined;
    return takePlace(frame.current, {
      onPlace: () => {
        setState('waiting');
        return followColumns(source, {
          onColumns(message) {
            painter.current?.push(message);
            setState('live');
          },
          onRefused: () => setState('none'),
        });
      },
      onFull: () => setState('full'),
    });
  }, [source]);

  useEffect(() => {
    if (canvas.current === null || width === 0) return undefined;
    const ratio = Math.min(2, devicePixelRatio);
    canvas.current.width = Math.round(width * ratio);
    canvas.current.height = Math.round(HEIGHT * ratio);
    return painter.current?.show(canvas.current, { isDark, isStill });
  }, [width, isDark, isStill]);

  const words = {
    waiting: t.spectrogram.waiting,
    full: t.spectrogram.full,
    none: t.spectrogram.none,
    live: '',
  };
  return (
    <figure class="spectrogram live" ref={frame}>
      <canvas ref={canvas} role="img" aria-label={label} data-state={state} />
      {state === 'live' ? null : <p class="over-canvas">{words[state]}</p>}
      <figcaption class="axis" aria-hidden="true">
        <span>{t.spectrogram.ago(SECONDS)}</span>
        <span>{t.spectrogram.pitch}</span>
        <span>{t.spectrogram.justNow}</span>
      </figcaption>
    </figure>
  );
}

function followColumns(
  source: string,
  handlers: { onColumns: (message: ColumnsMessage) => void; onRefused: () => void },
): () => void {
  let stream: EventSource | null = null;
  let retry: number | undefined;
  function open(): void {
    stream = new EventSource(addressOf(`api/spectrogram?source=${encodeURIComponent(source)}`));
    stream.addEventListener('columns', (event) =>
      handlers.onColumns(JSON.parse((event as MessageEvent<string>).data) as ColumnsMessage),
    );
    stream.addEventListener('error', () => {
      if (stream?.readyState !== EventSource.CLOSED) return;
      handlers.onRefused();
      retry = window.setTimeout(open, 30_000);
    });
  }
  open();
  return () => {
    window.clearTimeout(retry);
    stream?.close();
  };
}

interface Painter {
  push(message: ColumnsMessage): void;
  /** Draws on this canvas from now on; returns what ends it. */
  show(canvas: HTMLCanvasElement, look: { isDark: boolean; isStill: boolean }): () => void;
}

/** Keeps the last seconds as a picture of one pixel a value, and draws the part that is due. */
function createPainter(): Painter {
  let ring: ColumnRing | null = null;
  let range: ValueRange | null = null;
  let table = colourTable(false);
  const picture = document.createElement('canvas');
  /** The moment at the right edge, ms since the epoch. */
  let edgeMs = NaN;
  let wake: () => void = () => undefined;

  /** Colours the newest `count` columns of the ring anew. */
  function colour(count: number): void {
    const context = picture.getContext('2d');
    if (ring === null || range === null || context === null) return;
    const { bands, capacity, written, values } = ring;
    for (let left = Math.min(count, capacity, written); left > 0;) {
      const at = (written - left) % capacity;
      const run = Math.min(left, capacity - at);
      const image = context.createImageData(run, bands);
      colourColumns(values.subarray(at * bands, (at + run) * bands), bands, range, table, image.data);
      context.putImageData(image, at, 0);
      left -= run;
    }
  }

  function push(message: ColumnsMessage): void {
    const columns = readColumns(message);
    if (columns === null) return;
    if (ring?.bands !== columns.bands || ring.columnMs !== columns.columnMs) {
      // Another model: it sees in another way.
      ring = createColumnRing({ bands: columns.bands, columnMs: columns.columnMs, seconds: SECONDS + 5 });
      range = null;
      picture.width = ring.capacity;
      picture.height = ring.bands;
    }
    // A clock that was set back.
    if (columns.startMs < ring.endMs - 1000) edgeMs = NaN;
    const before = ring.written;
    ring.push(columns);
    const wanted = rangeOf(ring.values);
    if (wanted === null) return;
    const span = wanted.high - wanted.low;
    const isFar =
      range === null ||
      Math.abs(wanted.high - range.high) > 0.1 * span ||
      Math.abs(wanted.low - range.low) > 0.1 * span;
    if (isFar) range = wanted;
    colour(isFar ? ring.capacity : ring.written - before);
    wake();
  }

  function draw(canvas: HTMLCanvasElement): void {
    const context = canvas.getContext('2d');
    if (ring === null || context === null) return;
    const { capacity, written, endMs, columnMs, bands } = ring;
    const pixelsPerColumn = canvas.width / ((SECONDS * 1000) / columnMs);
    context.fillStyle = `rgb(${table[0]} ${table[1]} ${table[2]})`;
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.imageSmoothingEnabled = true;
    // From the newest column backwards, in the one or two pieces in which the ring holds them.
    let right = canvas.width + ((endMs - edgeMs) / columnMs) * pixelsPerColumn;
    let left = Math.min(written, capacity);
    let end = ((written - 1) % capacity) + 1;
    while (left > 0 && right > 0) {
      const run = Math.min(left, end);
      const wide = run * pixelsPerColumn;
      context.drawImage(picture, end - run, 0, run, bands, right - wide, 0, wide, canvas.height);
      right -= wide;
      left -= run;
      end = capacity;
    }
  }

  return {
    push,
    show(canvas, { isDark, isStill }) {
      table = colourTable(isDark);
      colour(Infinity);
      let request = 0;
      let lastMs = NaN;
      function step(nowMs: number): void {
        request = 0;
        if (ring === null) return;
        const targetMs = ring.endMs - (isStill ? 0 : LAG_MS);
        const behindMs = targetMs - edgeMs;
        if (isStill || Number.isNaN(edgeMs) || Math.abs(behindMs) > FARTHEST_MS) edgeMs = targetMs;
        else {
          const passedMs = Number.isNaN(lastMs) ? 0 : Math.min(100, nowMs - lastMs);
          // Real time, a little faster or slower, so that it neither runs dry nor falls behind.
          edgeMs = Math.min(ring.endMs, edgeMs + passedMs * (1 + behindMs / 2000));
        }
        lastMs = nowMs;
        draw(canvas);
        if (!isStill && edgeMs < ring.endMs) request = requestAnimationFrame(step);
        else lastMs = NaN;
      }
      wake = () => {
        if (request === 0) request = requestAnimationFrame(step);
      };
      wake();
      return () => {
        cancelAnimationFrame(request);
        wake = () => undefined;
      };
    },
  };
}
