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
  cuts: readonly PlannedCut[];
  tails: readonly PlannedTail[];
  edges: readonly PlannedEdge[];
  kept: readonly PlannedKept[];
}

/**
 * An input of the network for the whole window: its first columns, a gap of zeros, and its last columns with those that are
 * new with the hop take its place.
 */
export interface PlannedInput {
  name: string;
  timeAxis: number;
  /** What a run is given. */
  input: string;
  /** Of the window of the planned length. */
  columns: number;
  columnsPerGrid: number;
  /** Columns; none where the window's beginning is nothing apart. */
  head: number;
  gap: number;
  /** So many, and those that are new. */
  tail: number;
}

/**
 * What is kept of a small value that is cut up. A run is given one tensor of it that goes between the columns at the window's
 * beginning and those that are new:
 *
 *   [ edge: the window's first kept columns | a gap of zeros | tail: the last ones before what is new ]
 *
 * and gives a tensor in which those of the hops to come lie: they are copied.
 */
export interface PlannedCut {
  input: string;
  /** Of the input. */
  dims: readonly number[];
  /** Of time. */
  axis: number;
  output: string;
  /** Columns of the output: so many, and some for each step of the hop. */
  columns: { fixed: number; perStep: number };
  edge: EdgePlaces | null;
  /** Columns; `behind`: those in the output that follow it. */
  tail: { columns: number; behind: number };
}

/** Where the first kept columns of windows lie that are to come. */
export interface EdgePlaces {
  /** Of one window. */
  columns: number;
  /** How many steps of the grid behind the window of the run the last of them begins. */
  lag: number;
  /**
   * Where in the run's columns they lie, counted from the end: those of the last window begin at `last`, of each window before
   * it `perStep` earlier.
   */
  last: number;
  perStep: number;
}

/** The last kept columns of a large value, which the next hop's first ones are made with: out of one run, into the next. */
export interface PlannedTail {
  input: string;
  output: string;
  dims: readonly number[];
}

/**
 * The first kept columns of a large value in every window to come. A run takes those of its own window, and gives those of as
 * many windows as the hop has steps of the grid: [steps, ...dims].
 */
export interface PlannedEdge {
  input: string;
  output: string;
  /** Of one window. */
  dims: readonly number[];
  places: EdgePlaces;
  /** An int64 input, [steps, columns]: those places. */
  placesInput: string;
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
