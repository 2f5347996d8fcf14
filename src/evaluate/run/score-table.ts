/** The scores of pieces and what is in them, column by column, for as many pieces as come. */
export interface ScoreTable {
  readonly rows: number;
  /**
   * @param scores Float32Array, [columns], 0 … 1
   * @param holds the columns whose label is in the piece
   */
  add(scores: Float32Array, holds: readonly number[]): void;
  /** Float32Array, [rows], and 1 where the label is there. */
  column(index: number): { scores: Float32Array; truth: Uint8Array };
}

const FIRST_ROWS = 256;

/** Five bytes for each piece and column: 10,000 recordings of 500 labels take 25 MB. */
export function createScoreTable(columns: number): ScoreTable {
  let scores = new Float32Array(FIRST_ROWS * columns);
  let truth = new Uint8Array(FIRST_ROWS * columns);
  let rows = 0;
  return {
    get rows() {
      return rows;
    },
    add(row, holds) {
      if ((rows + 1) * columns > scores.length) {
        const [largerScores, largerTruth] = [
          new Float32Array(2 * scores.length),
          new Uint8Array(2 * truth.length),
        ];
        largerScores.set(scores);
        largerTruth.set(truth);
        [scores, truth] = [largerScores, largerTruth];
      }
      scores.set(row, rows * columns);
      for (const column of holds) truth[rows * columns + column] = 1;
      rows += 1;
    },
    column(index) {
      const own = { scores: new Float32Array(rows), truth: new Uint8Array(rows) };
      for (let row = 0; row < rows; row += 1) {
        own.scores[row] = scores[row * columns + index]!;
        own.truth[row] = truth[row * columns + index]!;
      }
      return own;
    },
  };
}
