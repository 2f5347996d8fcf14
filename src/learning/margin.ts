/**
 * The threshold, raised to the middle between what the background asks for and the example that was found with the
 * lowest score when it was left out.
 *
 * `fromBackground` holds for days that go on as they were. What a device hears later is partly of kinds that it has not
 * heard, and no tail knows how high those come: in the benchmark whole kinds of sounds were just above it, with the
 * examples far above them. Where nothing else is known of the gap between two classes, the boundary that has the
 * largest margin to both is the one with the smallest bound on its error (Vapnik, The Nature of Statistical Learning
 * Theory, 1995). A new instance of the sound is lower than the lowest of n examples once in
 * n + 1 times, so the boundary has to stay well below that one.
 *
 * The threshold is never lowered: where examples lie below it, the sound is one of those that this device hears all
 * day, and misses are what the wished number of false alarms costs.
 *
 * @param leftOut what each example got from a head that was taught by the others; the same scale
 */
export function withMargin(fromBackground: number, leftOut: readonly number[]): number {
  const lowest = Math.min(...leftOut);
  return lowest > fromBackground ? (fromBackground + lowest) / 2 : fromBackground;
}
