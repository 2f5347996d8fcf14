import type { JSX } from 'preact';
import type { PlotScale } from './plot.js';

/** A line across a plot at the threshold in force. */
export function ThresholdNow({ scale, threshold }: { scale: PlotScale; threshold: number }): JSX.Element {
  return (
    <span
      class="threshold-now"
      aria-hidden="true"
      style={{ top: `${scale.toY(threshold)}px`, left: `${scale.left}px`, width: `${scale.width}px` }}
    />
  );
}
