import type { Test } from 'tap';
import { silentLogger } from '../../src/common/log.js';
import { createLink, type Link, type LinkOptions, type LinkStatus } from '../../src/mqtt/link.js';

/** A link of the device `soundpost/test`, with `options`, that a test's end stops. It is not started. */
export function makeLink(t: Test, options: Partial<LinkOptions> & Pick<LinkOptions, 'url'>): Link {
  const link = createLink({
    baseTopic: 'soundpost',
    deviceId: 'test',
    log: silentLogger,
    onRequest: () => undefined,
    ...options,
  });
  t.teardown(() => link.stop());
  return link;
}

/** Whether it says how an attempt ended, or that a connection did; not that nothing was tried yet. */
export function isOutcome(status: LinkStatus): boolean {
  return !('code' in status && status.code === 'not_started');
}

/** Resolves with the first status, present or future, that fits; rejects after a minute, with the last one. */
export function reached<S extends LinkStatus['state']>(
  link: Link,
  state: S,
): Promise<LinkStatus & { state: S }> {
  return new Promise((resolve, reject) => {
    let last: LinkStatus | undefined;
    const timer = setTimeout(() => {
      stop();
      reject(new Error(`not within 60 s: the link is ${state}; it is ${JSON.stringify(last)}`));
    }, 60_000);
    const stop = link.onStatus((status) => {
      last = status;
      if (status.state !== state || !isOutcome(status)) return;
      clearTimeout(timer);
      queueMicrotask(() => stop());
      resolve(status as LinkStatus & { state: S });
    });
  });
}
