import type { JSX } from 'preact';
import { useRef } from 'preact/hooks';
import { useWords } from '../texts/index.js';
import type { PlotScale } from './plot.js';

const clamp = (value: number): number => Math.min(1, Math.max(0, Math.round(value * 100) / 100));

/** A threshold that lies over a plot of scores, to be dragged up and down or moved by the arrow keys. */
export function ThresholdLine(properties: {
  scale: PlotScale;
  value: number;
  /** What the threshold would do, in words. */
  meaning: string;
  onChange: (value: number) => void;
}): JSX.Element {
  const { scale, value, meaning, onChange } = properties;
  const { t, format } = useWords();
  const line = useRef<HTMLDivElement>(null);
  const dragged = useRef<number | null>(null);
  function move(event: PointerEvent): void {
    const frame = line.current?.parentElement?.getBoundingClientRect();
    if (dragged.current === event.pointerId && frame !== undefined) {
      onChange(clamp(scale.fromY(event.clientY - frame.top)));
    }
  }
  function press(event: KeyboardEvent): void {
    const steps: Record<string, number> = {
      ArrowUp: 0.01,
      ArrowRight: 0.01,
      ArrowDown: -0.01,
      ArrowLeft: -0.01,
      PageUp: 0.1,
      PageDown: -0.1,
    };
    const next = event.key === 'Home' ? 0 : event.key === 'End' ? 1 : value + (steps[event.key] ?? NaN);
    if (Number.isNaN(next)) return;
    event.preventDefault();
    onChange(clamp(next));
  }
  return (
    <div
      ref={line}
      class="threshold-line"
      style={{ top: `${scale.toY(value)}px`, left: `${scale.left}px`, width: `${scale.width}px` }}
      role="slider"
      tabIndex={0}
      aria-label={t.history.threshold}
      aria-orientation="vertical"
      aria-valuemin={0}
      aria-valuemax={1}
      aria-valuenow={value}
      aria-valuetext={`${format.score(value)}, ${meaning}`}
      onPointerDown={(event) => {
        dragged.current = event.pointerId;
        line.current?.setPointerCapture(event.pointerId);
      }}
      onPointerMove={move}
      onPointerUp={() => {
        dragged.current = null;
      }}
      onPointerCancel={() => {
        dragged.current = null;
      }}
      onKeyDown={press}
    >
      <span class="threshold-handle figures" aria-hidden="true">
        {format.score(value)}
      </span>
    </div>
  );
}
