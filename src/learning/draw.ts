/** Numbers from 0 up to 1, the same ones for the same seed: what is taught twice comes out the same. */
export type Draw = () => number;

/** SplitMix32, after Steele, Lea and Flood, Fast Splittable Pseudorandom Number Generators, OOPSLA 2014. */
export function createDraw(seed: number): Draw {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x9e3779b9) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
    return ((mixed ^ (mixed >>> 15)) >>> 0) / 2 ** 32;
  };
}

/** A number of a normal distribution with mean 0 and variance 1 (Box and Muller, 1958). */
export function normal(draw: Draw): number {
  return Math.sqrt(-2 * Math.log(1 - draw())) * Math.cos(2 * Math.PI * draw());
}
