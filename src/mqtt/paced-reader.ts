import type { Socket } from 'node:net';
import { createBucket, type Bucket } from '../common/bucket.js';
import { BROKER_LIMITS } from './broker-limits.js';
import { createFrameGuard } from './frame-guard.js';

/** How much is handed over at once: a piece may hold a thousand packets, which are answered in one go. */
const PIECE_BYTES = 8 * 1024;
/** Where the reader has not come back by then for the rest, it is reminded of it. */
const REMINDER_MS = 2;

const PUBACK = 4;
/** Whoever reads much with QoS 1 says so as often, and costs next to nothing by that. */
const PUBACK_WEIGHT = 0.1;

/**
 * Lets a socket be read only as fast as its client may send, and cuts off a packet that is larger than allowed before
 * its bytes are gathered in memory. What is not read fills the line, and the sender waits. aedes takes its input by
 * `read()` when it hears `readable` and has no limits of its own, so that is where they are.
 * @param options.shared what all clients together may send
 */
export function createPacedReader(
  socket: Socket,
  options: { shared: { packets: Bucket; bytes: Bucket }; onTooLarge: () => void },
): void {
  const { shared, onTooLarge } = options;
  const packets = createBucket(BROKER_LIMITS.packetsPerSecond, BROKER_LIMITS.packetsBurst);
  const bytes = createBucket(BROKER_LIMITS.bytesPerSecond, BROKER_LIMITS.bytesBurst);
  let counted = 0;
  const acceptable = createFrameGuard(BROKER_LIMITS.packetBytes, (type) => {
    counted += type === PUBACK ? PUBACK_WEIGHT : 1;
  });
  let reminder: NodeJS.Timeout | null = null;
  /** A piece has been handed over in this turn: aedes asks for more in the midst of parsing it, and would mix them up. */
  let handed = false;

  function waitMs(): number {
    const own = Math.max(packets.waitMs(), bytes.waitMs());
    // A flood of others must not keep the one from being heard who could stop it.
    if (packets.spent() < BROKER_LIMITS.unhurriedPackets) return own;
    return Math.max(own, shared.packets.waitMs(), shared.bytes.waitMs());
  }

  function remind(ms: number): void {
    reminder ??= setTimeout(() => {
      reminder = null;
      socket.emit('readable');
    }, ms);
  }

  const read = socket.read.bind(socket) as (size?: number) => Buffer | null;
  socket.read = (size?: number): Buffer | null => {
    const wait = Math.max(waitMs(), handed ? REMINDER_MS : 0);
    if (wait > 0) {
      remind(wait);
      return null;
    }
    const chunk = read(socket.readableLength > PIECE_BYTES ? PIECE_BYTES : size);
    if (chunk === null) return null;
    counted = 0;
    if (!acceptable(chunk)) {
      onTooLarge();
      socket.destroy();
      return null;
    }
    for (const bucket of [packets, shared.packets]) bucket.take(counted);
    for (const bucket of [bytes, shared.bytes]) bucket.take(chunk.length);
    handed = true;
    setImmediate(() => (handed = false));
    if (socket.readableLength > 0) remind(REMINDER_MS);
    return chunk;
  };
  socket.on('close', () => {
    if (reminder !== null) clearTimeout(reminder);
  });
}
