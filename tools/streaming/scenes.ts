/**
 * Sound that is never the same twice: scenes of 0.5 to 12 s, of noise, tones that glide, clicks, hums with overtones, and
 * silence, each at a level of its own and with a fade at both ends or none. The same each time from the first sample on.
 */
export function createScenes(rate: number): (samples: number) => Float32Array {
  const noise = createNoise(1);
  const choice = createNoise(2);
  const between = (least: number, most: number): number => least + ((choice() + 1) / 2) * (most - least);
  let [left, at] = [0, 0];
  let sound: (at: number) => number = () => 0;

  function nextScene(): void {
    left = Math.round(between(0.5, 12) * rate);
    at = 0;
    const length = left;
    const level = 10 ** between(-4, -0.1);
    const fade = choice() > 0 ? 0.05 * rate : 1;
    const kind = KINDS[Math.floor(between(0, KINDS.length - 1e-9))]!;
    const make = kind({ rate, length, noise, between });
    sound = (i) => level * Math.min(1, i / fade, (length - i) / fade) * make(i);
  }

  return (samples) => {
    const result = new Float32Array(samples);
    for (let i = 0; i < samples; i += 1) {
      if (left === 0) nextScene();
      result[i] = sound(at);
      at += 1;
      left -= 1;
    }
    return result;
  };
}

interface Scene {
  rate: number;
  length: number;
  noise: () => number;
  between: (least: number, most: number) => number;
}

/** Each gives the sample at a place of a scene. */
const KINDS: readonly ((scene: Scene) => (at: number) => number)[] = [
  ({ noise }) =>
    () =>
      noise(),
  () => () => 0,
  ({ rate, length, between }) => {
    const [from, to] = [between(50, rate / 3), between(50, rate / 3)];
    const phase = (2 * Math.PI) / rate;
    return (at) => Math.sin(phase * at * (from + ((to - from) * at) / (2 * length)));
  },
  ({ rate, between }) => {
    const every = Math.round(between(0.02, 0.7) * rate);
    return (at) => (at % every < 8 ? 1 - (at % every) / 4 : 0);
  },
  ({ rate, noise, between }) => {
    const step = (2 * Math.PI * between(40, 400)) / rate;
    return (at) =>
      0.5 * Math.sin(step * at) +
      0.25 * Math.sin(3 * step * at) +
      0.1 * Math.sin(7 * step * at) +
      0.1 * noise();
  },
];

/** Numbers from -1 to 1; the row is longer than a day of sound. */
function createNoise(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  };
}
