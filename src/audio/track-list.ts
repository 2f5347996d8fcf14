/** The audio tracks that ffmpeg tells of, and the one that is taken. */
export interface TrackList {
  /** Another connection: nothing is known of its tracks yet. */
  begin(): void;
  /** ffmpeg's description of the next one. */
  add(description: string): void;
  /** `track 1 of 2 (aac (LC), 48000 Hz, stereo)`, or nothing where no track was found. */
  text(): string | undefined;
  /**
   * What to add to a word of silence. Where one audio track is mute, another may not be: cameras list the way back, to
   * their loudspeaker, as one.
   */
  others(): string;
}

/** @param taken the number of the one that is taken, from 1 on */
export function createTrackList(taken: number): TrackList {
  let tracks: string[] = [];
  return {
    begin() {
      tracks = [];
    },
    add: (description) => void tracks.push(description),
    text() {
      const description = tracks[taken - 1];
      return description === undefined ? undefined : `track ${taken} of ${tracks.length} (${description})`;
    },
    others() {
      if (tracks.length < 2) return '';
      return `; it has ${tracks.length} audio tracks, try another with audio.track (now ${taken})`;
    },
  };
}
