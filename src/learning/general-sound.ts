import { createDraw, type Draw } from './draw.js';

/** So long the sound is. */
export const GENERAL_SECONDS = 40;
/** So long each piece of it is. */
const PIECE_SECONDS = 1;

/**
 * What any device may hear and no sound is like that is to be taught: next to silence, noise of several colours, hum,
 * clicks, rattling, sweeps, and single tones. For a device that has heard little it stands for all other sounds. Always
 * the same.
 * @returns mono, ±1
 */
export function generalSound(sampleRate: number): Float32Array {
  const draw = createDraw(19_991_231);
  const out = new Float32Array(Math.round(GENERAL_SECONDS * sampleRate));
  const length = Math.round(PIECE_SECONDS * sampleRate);
  for (let piece = 0; piece * length < out.length; piece += 1) {
    const part = out.subarray(piece * length, (piece + 1) * length);
    addNoise(part, 0.0005, 0.5, draw);
    PIECES[piece % PIECES.length]!(part, sampleRate, draw);
  }
  return out;
}

type Piece = (part: Float32Array, sampleRate: number, draw: Draw) => void;

const between = (draw: Draw, low: number, high: number) => low * (high / low) ** draw();

const PIECES: readonly Piece[] = [
  () => undefined,
  (part, _, draw) => addNoise(part, between(draw, 0.003, 0.2), 1, draw),
  (part, _, draw) => addNoise(part, between(draw, 0.003, 0.2), between(draw, 0.02, 0.3), draw),
  (part, rate, draw) => addTone(part, rate, { hz: 50, amplitude: between(draw, 0.005, 0.1), odd: true }),
  (part, rate, draw) => addClicks(part, rate, 1 + Math.floor(draw() * 12), draw),
  (part, rate, draw) => addTone(part, rate, { hz: between(draw, 150, 4000), amplitude: 0.15, odd: false }),
  (part, rate, draw) => addSweep(part, rate, between(draw, 100, 1000), between(draw, 500, 6000)),
  (part, rate, draw) => addTone(part, rate, { hz: between(draw, 200, 2000), amplitude: 0.1, odd: true }),
];

/** White noise through a leaky integrator. @param leak 1: white; smaller: darker */
function addNoise(part: Float32Array, amplitude: number, leak: number, draw: Draw): void {
  let value = 0;
  for (let i = 0; i < part.length; i += 1) {
    value += leak * (2 * draw() - 1 - value);
    part[i]! += (amplitude * value) / Math.sqrt(leak);
  }
}

function addTone(
  part: Float32Array,
  sampleRate: number,
  { hz, amplitude, odd }: { hz: number; amplitude: number; odd: boolean },
): void {
  const step = (2 * Math.PI * hz) / sampleRate;
  for (let i = 0; i < part.length; i += 1) {
    const harmonics = odd ? Math.sin(3 * step * i) / 3 + Math.sin(5 * step * i) / 5 : 0;
    part[i]! += amplitude * envelope(i, part.length) * (Math.sin(step * i) + harmonics);
  }
}

function addSweep(part: Float32Array, sampleRate: number, fromHz: number, toHz: number): void {
  let phase = 0;
  for (let i = 0; i < part.length; i += 1) {
    phase += (2 * Math.PI * fromHz * (toHz / fromHz) ** (i / part.length)) / sampleRate;
    part[i]! += 0.1 * envelope(i, part.length) * Math.sin(phase);
  }
}

function addClicks(part: Float32Array, sampleRate: number, count: number, draw: Draw): void {
  for (let click = 0; click < count; click += 1) {
    const at = Math.floor(draw() * part.length);
    const amplitude = between(draw, 0.02, 0.6);
    const decay = between(draw, 0.001, 0.03) * sampleRate;
    for (let i = at; i < Math.min(part.length, at + 6 * decay); i += 1) {
      part[i]! += amplitude * Math.exp(-(i - at) / decay) * (2 * draw() - 1);
    }
  }
}

/** Rises and falls within a twentieth of the piece. */
function envelope(i: number, count: number): number {
  return Math.min(1, (20 * i) / count, (20 * (count - i)) / count);
}
