import { Duplex } from 'node:stream';

/** The two ends of a connection inside this process: what is written to one is read from the other. */
export function streamPair(): [Duplex, Duplex] {
  const one = new End();
  const other = new End();
  one.join(other);
  other.join(one);
  return [one, other];
}

/** One end. It passes a chunk on once the other end has asked for more, so that neither gathers without a bound. */
class End extends Duplex {
  #other: End | undefined;
  /** Of the chunk that the other end has no room for. */
  #goOn: (() => void) | null = null;

  join(other: End): void {
    this.#other = other;
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    const other = this.#other;
    if (other === undefined || other.destroyed) {
      done(new Error('the other end is closed'));
      return;
    }
    if (other.push(chunk)) done();
    else other.#goOn = done;
  }

  override _read(): void {
    const goOn = this.#goOn;
    this.#goOn = null;
    goOn?.();
  }

  override _final(done: () => void): void {
    this.#other?.push(null);
    done();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    const goOn = this.#goOn;
    this.#goOn = null;
    goOn?.();
    // As with a socket, an end that is torn away ends the other one.
    const other = this.#other;
    if (other !== undefined && !other.destroyed) setImmediate(() => other.destroy());
    done(error);
  }
}
