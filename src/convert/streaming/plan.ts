/**
 * What the first columns of a window are made of. `exact`: of the window alone, so that the network gives what it gives for
 * the whole window. `stream`: of the sound before the window too, as if it were still there: cheaper, and a little different.
 */
export type LeftEdge = 'exact' | 'stream';

/** What has to be fed to a streamed network, and kept of what it gives, from one hop to the next. */
export interface StreamPlan {
  /** Windows begin at multiples of so many samples; a hop is a whole number of them. */
  gridSamples: number;
  /** A hop on the grid that is as long as the wished one, or the next longer. */
  hopSamples: number;
  /** The longest hop that what is kept allows for a window of the planned length; a longer one begins anew. */
  maxHopSamples: number;
  /** Planned length; windows that are longer or shorter by multiples of the grid have the same network. */
  windowSamples: number;
  inputs: readonly PlannedInput[];
  tails: readonly PlannedTail[];
  edges: readonly PlannedEdge[];
  kept: readonly PlannedKept[];
}

/** An input of the network for the whole window: its first and its last columns take its place. */
export interface PlannedInput {
  name: string;
  timeAxis: number;
  /** Of the window of the planned length. */
  columns: number;
  columnsPerGrid: number;
  /** Null where the window's beginning is nothing apart. */
  head: { name: string; columns: number } | null;
  /** So many columns, and those that are new with the hop. */
  tail: { name: string; columns: number };
}

/** The last kept columns of a value, which the next hop's first ones are made with: out of one run, into the next. */
export interface PlannedTail {
  input: string;
  output: string;
  dims: readonly number[];
}

/**
 * The first kept columns of a value in every window to come. A run takes those of its own window, and gives those of as
 * many windows as the hop has steps of the grid: [steps, ...dims].
 */
export interface PlannedEdge {
  input: string;
  output: string;
  /** Of one window. */
  dims: readonly number[];
  /** How many steps of the grid behind the window of the run the last of them begins. */
  lag: number;
  /**
   * An int64 input, [steps, count]: where in the run's columns those of each window lie, counted back from the end. Those of
   * the last window begin at `last`, of each window before it `columnsPerGrid` earlier.
   */
  places: { name: string; count: number; last: number; columnsPerGrid: number };
}

/**
 * All kept columns of a value, for a layer that looks at the whole window: [columns, ...dims]. A run takes those that
 * are not new in its window, and gives the new ones.
 */
export interface PlannedKept {
  input: string;
  output: string;
  /** Of one column. */
  dims: readonly number[];
  /** In the window of the planned length, with those that are new. */
  columns: number;
  columnsPerGrid: number;
}
