import type { ServerResponse } from 'node:http';
import { SoundpostError } from '../common/errors.js';
import type { WebLimits } from './limits.js';

/** One who looks on. */
export interface EventStream {
  /** Sends what may be sent to others as well. Never throws; a viewer that does not read is dropped. */
  send(bytes: Buffer): void;
  close(): void;
}

/** Replies that go on (server-sent events), as many as there may be. */
export interface EventStreams {
  readonly count: number;
  /**
   * Begins one. What `first` makes, where there is a place, goes out before everything else and does not count towards
   * what may wait. Throws SoundpostError `too_many_viewers`.
   */
  open(response: ServerResponse, first: () => Buffer, onClose: () => void): EventStream;
  closeAll(): void;
}

const KEEP_ALIVE = Buffer.from(': still here\n\n');
const HEADERS = {
  'Content-Type': 'text/event-stream; charset=utf-8',
  'Cache-Control': 'no-store, no-transform',
  // What nginx and Home Assistant's Supervisor go by.
  'X-Accel-Buffering': 'no',
};

/** @param options.onDropped told of each viewer that did not read */
export function createEventStreams(options: {
  onDropped: () => void;
  limits: Pick<WebLimits, 'viewers' | 'viewerBytes' | 'viewersBytes' | 'keepAliveMs'>;
}): EventStreams {
  const { onDropped, limits } = options;
  interface Viewer extends EventStream {
    response: ServerResponse;
    /** Drops it where it has taken nothing since the last look. */
    look(): void;
  }
  const open = new Set<Viewer>();
  let timer: NodeJS.Timeout | undefined;

  function refuseWhereFull(): void {
    let waiting = 0;
    for (const { response } of open) waiting += response.writableLength;
    if (open.size < limits.viewers && waiting < limits.viewersBytes) return;
    throw new SoundpostError(
      'too_many_viewers',
      `${open.size} look on already, which is as many as this device serves. Close other windows, or try again later.`,
    );
  }

  function createViewer(response: ServerResponse, firstBytes: number): Viewer {
    let takenBytes = -1;
    const drop = (): void => {
      onDropped();
      response.destroy();
    };
    return {
      response,
      send(bytes) {
        if (response.destroyed || response.writableEnded) return;
        response.write(bytes);
        if (response.writableLength > limits.viewerBytes + firstBytes) drop();
      },
      close() {
        response.end();
      },
      look() {
        const taken = (response.socket?.bytesWritten ?? 0) - response.writableLength;
        if (response.writableLength > 0 && taken === takenBytes) drop();
        else if (response.writableLength === 0) this.send(KEEP_ALIVE);
        takenBytes = taken;
      },
    };
  }

  return {
    get count() {
      return open.size;
    },
    open(response, first, onClose) {
      refuseWhereFull();
      const bytes = first();
      response.writeHead(200, HEADERS);
      const viewer = createViewer(response, bytes.length);
      open.add(viewer);
      timer ??= setInterval(() => open.forEach((one) => one.look()), limits.keepAliveMs).unref();
      response.on('close', () => {
        open.delete(viewer);
        if (open.size === 0) {
          clearInterval(timer);
          timer = undefined;
        }
        onClose();
      });
      response.write(bytes);
      return viewer;
    },
    closeAll() {
      for (const viewer of open) viewer.close();
    },
  };
}

/** One event as it goes over the line. `data` is a JSON document, so that it has no line breaks. */
export function eventText(name: string, data: string): string {
  return `event: ${name}\ndata: ${data}\n\n`;
}
