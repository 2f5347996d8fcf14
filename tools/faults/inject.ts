import type { Scope } from './scope.js';
import type { Verdict } from './verdict.js';

/**
 * Injects one fault into the real service and measures. Whatever it starts belongs to the scope; what does not
 * come about in time may be thrown, which is a promise that was not kept. Throws `NotHere` where the machine
 * has no means for it.
 * @param limit seconds in which the promise says that something is back; Infinity where nothing has to be
 */
export type Inject = (scope: Scope, verdict: Verdict, limit: number) => Promise<void>;
