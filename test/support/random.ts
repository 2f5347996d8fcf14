/** Numbers from 0 up to 1, the same ones for the same seed. */
export type Random = () => number;

/** For what is to differ from run to run: the seed is in the test's output, and SOUNDPOST_TEST_SEED sets it. */
export function seededRandom(t: { comment(text: string): void }): Random {
  const seed = Number(process.env['SOUNDPOST_TEST_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
  t.comment(`SOUNDPOST_TEST_SEED=${seed} draws the same numbers again`);
  return createRandom(seed);
}

/** Mulberry32, by Tommy Ettinger (public domain): good enough to place sounds with, and five lines. */
export function createRandom(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
