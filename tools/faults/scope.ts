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
  return {
    teardown: (handler) => void handlers.push(handler),
    async close() {
      const failures: unknown[] = [];
      for (let handler = handlers.pop(); handler !== undefined; handler = handlers.pop()) {
        try {
          await handler();
        } catch (error) {
          failures.push(error);
        }
      }
      if (failures.length > 0) throw new AggregateError(failures, 'something could not be ended');
    },
  };
}
