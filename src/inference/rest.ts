/**
 * Says whether a window may be answered as silence without a run, because nothing that could matter in it was louder
 * than a limit. Positions are capture samples since the sound began.
 */
export interface Rest {
  /** The sound begins anew. */
  begin(captureRate: number): void;
  /** The level of a short piece of the sound, which ends at `endPosition`; pieces come in order and without gaps. */
  piece(endPosition: number, dbfs: number): void;
  /** A window that ends here is being run. */
  ran(position: number): void;
  /**
   * Whether the window that ends at `position` may be answered as silence: nothing in it since `from` was loud, and one
   * was run not long ago.
   */
  mayRest(from: number, position: number): boolean;
}

/** However quiet it is, a window is run as often as this. */
const LONGEST_REST_SECONDS = 60;

/** Sound that has not been measured yet is at most this long: the length of a piece, generously. */
const UNMEASURED_SECONDS = 0.1;

/** @param limitDbfs what is quieter may be passed over; null: nothing is */
export function createRest(limitDbfs: number | null): Rest {
  let captureRate = 0;
  /** Where the newest loud piece ends, and up to where there are pieces. */
  let loudUntil = -Infinity;
  let measuredUntil = 0;
  let ranAt = -Infinity;
  return {
    begin(rate) {
      captureRate = rate;
      loudUntil = -Infinity;
      measuredUntil = 0;
      ranAt = -Infinity;
    },
    piece(endPosition, dbfs) {
      measuredUntil = endPosition;
      if (limitDbfs !== null && !(dbfs < limitDbfs)) loudUntil = endPosition;
    },
    ran(position) {
      ranAt = position;
    },
    mayRest(from, position) {
      if (limitDbfs === null || loudUntil > from) return false;
      if (position - measuredUntil > UNMEASURED_SECONDS * captureRate) return false;
      return position - ranAt < LONGEST_REST_SECONDS * captureRate;
    },
  };
}
