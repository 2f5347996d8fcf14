/** Whoever owns things that have to be ended: a test of tap, or a scope. */
export interface Owner {
  teardown(handler: () => unknown): void;
}

export interface Scope extends Owner {
  /** Ends everything, the last first; what fails there is kept for the end and thrown as one error. */
  close(): Promise<void>;
}

export function createScope(): Scope {
  const handlers: (() => unknown)[] = [];
  let closed = false;
  const endAtOnce = async (handler: () => unknown): Promise<void> => {
    try {
      await handler();
    } catch {
      // Whoever closed the scope has gone on: there is nobody left to tell.
    }
  };
  return {
    // What is given up at its limit goes on, and may start things after the close.
    teardown: (handler) => void (closed ? endAtOnce(handler) : handlers.push(handler)),
    async close() {
      const failures: unknown[] = [];
      for (let handler = handlers.pop(); handler !== undefined; handler = handlers.pop()) {
        try {
          await handler();
        } catch (error) {
          failures.push(error);
        }
      }
      closed = true;
      if (failures.length > 0) throw new AggregateError(failures, 'something could not be ended');
    },
  };
}
