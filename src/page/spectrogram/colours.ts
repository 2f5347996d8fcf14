/* From quiet to loud: out of the card's own colour, through the green of the page. */

type Rgb = readonly [red: number, green: number, blue: number];

const LIGHT: readonly Rgb[] = [
  [246, 248, 247],
  [201, 230, 219],
  [95, 178, 148],
  [11, 110, 79],
  [4, 38, 30],
];
const DARK: readonly Rgb[] = [
  [20, 24, 27],
  [14, 58, 52],
  [25, 126, 98],
  [124, 211, 158],
  [253, 246, 205],
];

/** 256 colours, as a canvas has them in memory: red, green, blue, opaque. */
export function colourTable(isDark: boolean): Uint8ClampedArray {
  const stops = isDark ? DARK : LIGHT;
  const table = new Uint8ClampedArray(256 * 4);
  for (let at = 0; at < 256; at += 1) {
    const place = (at / 255) * (stops.length - 1);
    const index = Math.min(stops.length - 2, Math.floor(place));
    const part = place - index;
    for (let channel = 0; channel < 3; channel += 1) {
      const [from, to] = [stops[index]![channel]!, stops[index + 1]![channel]!];
      table[4 * at + channel] = from + part * (to - from);
    }
    table[4 * at + 3] = 255;
  }
  return table;
}

/**
 * Colours columns into a picture that is `count` wide and `bands` high, low bands at the bottom.
 * @param values column after column, low bands first
 * @param out [bands × count × 4]
 */
export function colourColumns(
  values: Float32Array,
  bands: number,
  range: { low: number; high: number },
  table: Uint8ClampedArray,
  out: Uint8ClampedArray,
): void {
  const count = values.length / bands;
  const scale = 255 / (range.high - range.low);
  for (let column = 0; column < count; column += 1) {
    for (let band = 0; band < bands; band += 1) {
      const value = (values[column * bands + band]! - range.low) * scale;
      const colour = 4 * (value >= 255 ? 255 : value > 0 ? Math.floor(value) : 0);
      const at = 4 * ((bands - 1 - band) * count + column);
      out[at] = table[colour]!;
      out[at + 1] = table[colour + 1]!;
      out[at + 2] = table[colour + 2]!;
      out[at + 3] = 255;
    }
  }
}
