/**
 * The onset or the offset of a watched item, as in `B/event`; times are milliseconds since the epoch. Both
 * events of a pair carry the same `id`.
 */
export interface TagEvent {
  id: string;
  event_type: 'started' | 'ended';
  /** The watched item's level of `B/label/<slug>`. */
  slug: string;
  /** The label that was the strongest so far; for a group its strongest member. */
  label: string;
  mid: string | null;
  group: string | null;
  /** In the frame that decided it (`started`) or in which it was last heard (`ended`). */
  score: number;
  /** The highest score from the onset to now. */
  peak: number;
  /** When the sound begins. */
  started_at: number;
  /** When it ends; null while it is on. */
  ended_at: number | null;
  duration_s: number | null;
  /** When this was decided. */
  detected_at: number;
}

/** Something that is on now. */
export interface OnItem {
  id: string;
  name: string;
  slug: string;
  label: string;
  mid: string | null;
  group: string | null;
  peak: number;
  started_at: number;
  last_heard_at: number;
}
