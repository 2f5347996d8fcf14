import { softplus } from './logistic.js';
import { minimise } from './minimise.js';

/** A score of 1 / (1 + e^−(slope · logit + shift)). */
export interface Calibration {
  /** > 0 */
  readonly slope: number;
  readonly shift: number;
}

/** Of a slope that both classes agree on nothing is left but a step, which says nothing of how near a miss was. */
const SLOPES = { min: 0.1, max: 4 } as const;

/**
 * Platt's calibration (Probabilistic Outputs for Support Vector Machines, 1999) with both classes weighing the same: a
 * logistic curve through the logits of what was not trained on, towards targets that leave room for doubt, (n⁺ + 1) /
 * (n⁺ + 2) and 1 / (n⁻ + 2).
 */
export function calibrate(positives: readonly number[], negatives: readonly number[]): Calibration {
  const classes = [
    { logits: positives, target: (positives.length + 1) / (positives.length + 2) },
    { logits: negatives, target: 1 / (negatives.length + 2) },
  ];
  const found = minimise(
    (x, gradient) => {
      gradient.fill(0);
      let value = 0;
      for (const { logits, target } of classes) {
        for (const logit of logits) {
          const z = x[0]! * logit + x[1]!;
          const weight = 0.5 / logits.length;
          value += weight * (softplus(z) - target * z);
          const pull = weight * (1 / (1 + Math.exp(-z)) - target);
          gradient[0]! += pull * logit;
          gradient[1]! += pull;
        }
      }
      return value;
    },
    Float64Array.of(1, 0),
    { tolerance: 1e-7 },
  );
  const slope = Math.min(SLOPES.max, Math.max(SLOPES.min, found[0]!));
  return { slope, shift: found[1]! };
}
