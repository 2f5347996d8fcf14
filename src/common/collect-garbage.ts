import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

let collect: (() => void) | null = null;

/**
 * Collects all garbage now, which takes some 30 ms of the event loop. For moments in which much has been let go of that
 * lies outside the JavaScript heap: left to itself V8 sees a small heap and waits for a long time.
 */
export function collectGarbage(): void {
  if (collect === null) {
    // The one way to it without a flag on the command line (Node 20 and 22).
    setFlagsFromString('--expose-gc');
    collect = runInNewContext('gc') as () => void;
  }
  collect();
}
