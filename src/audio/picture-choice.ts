/** Whether a camera is asked for its picture too. Pure. */
export interface PictureChoice {
  readonly wanted: boolean;
  /** A connection is over; `worked`: it gave sound for long enough. True where the next one is made otherwise. */
  after(worked: boolean): boolean;
}

/** Begins without the picture and changes after every failure; a way that has worked gets a second chance. */
export function createPictureChoice(): PictureChoice {
  let wanted = false;
  /** Failures that the present way is still forgiven. */
  let forgiven = 0;
  return {
    get wanted() {
      return wanted;
    },
    after(worked) {
      if (worked) {
        forgiven = 1;
        return false;
      }
      if (forgiven > 0) {
        forgiven -= 1;
        return false;
      }
      wanted = !wanted;
      return true;
    },
  };
}
