import { ClassicLevel } from 'classic-level';
import type { EventPayload } from '../../src/mqtt/contract.js';

/** Keys as version 0.1 wrote them. */
const nameOf = (key: number): string =>
  `e${String(BigInt(key) + BigInt(Number.MAX_SAFE_INTEGER)).padStart(17, '0')}`;

/** Does what version 0.1 did to its outbox, in files as small as they can be. */
export async function writeFormerOutbox(
  folder: string,
  steps: { append: readonly EventPayload[]; remove: readonly number[] }[],
): Promise<void> {
  let key = 0;
  for (const { append, remove } of steps) {
    // Opened each time anew: what was in a log becomes a table.
    const db = new ClassicLevel(folder, { writeBufferSize: 64 * 1024, maxFileSize: 1024 * 1024 });
    await db.open();
    for (const event of append) {
      key += 1;
      const text = JSON.stringify(event);
      await db.batch([
        { type: 'put', key: nameOf(key), value: text },
        event.event_type === 'started'
          ? { type: 'put', key: `u${event.id}`, value: text }
          : { type: 'del', key: `u${event.id}` },
        { type: 'put', key: 'alive', value: String(Date.parse(event.started_at)) },
      ]);
    }
    for (const gone of remove) await db.del(nameOf(gone));
    await db.close();
  }
}
