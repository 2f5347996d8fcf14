/*
 * A browser opens six connections to one address at most. So only so many spectrograms are open at a time, of the
 * sources that are on the screen, and none while nobody sees the page; the rest of the page needs connections too.
 */

const MOST = 3;

interface Seat {
  isSeen: boolean;
  isTold: boolean;
  onPlace: () => () => void;
  onFull: () => void;
  leave: (() => void) | null;
}

const seats = new Set<Seat>();

function arrange(): void {
  const isShown = document.visibilityState === 'visible';
  for (const seat of seats) {
    if (seat.leave === null || (seat.isSeen && isShown)) continue;
    seat.leave();
    seat.leave = null;
  }
  if (!isShown) return;
  let taken = [...seats].filter(({ leave }) => leave !== null).length;
  for (const seat of seats) {
    if (!seat.isSeen || seat.leave !== null) continue;
    if (taken >= MOST) {
      if (!seat.isTold) seat.onFull();
      seat.isTold = true;
      continue;
    }
    taken += 1;
    seat.isTold = false;
    seat.leave = seat.onPlace();
  }
}

document.addEventListener('visibilitychange', arrange);

/**
 * Waits until an element is on the screen and there is a place for it.
 * @param options.onPlace begins what takes the place; returns what ends it
 * @returns gives the place back for good
 */
export function takePlace(
  element: Element,
  options: { onPlace: () => () => void; onFull: () => void },
): () => void {
  const seat: Seat = { ...options, isSeen: false, isTold: false, leave: null };
  seats.add(seat);
  const observer = new IntersectionObserver(([entry]) => {
    seat.isSeen = entry?.isIntersecting ?? false;
    arrange();
  });
  observer.observe(element);
  return () => {
    observer.disconnect();
    seats.delete(seat);
    seat.leave?.();
    arrange();
  };
}
