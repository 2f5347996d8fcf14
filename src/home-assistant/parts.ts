import type { Platform } from './entities.js';
import type { Component, DiscoveryPayload } from './payload.js';

type Components = Readonly<Record<string, Component>>;

/**
 * The most bytes of one message where no limit is known. AWS IoT takes 128 KiB, less than any other broker that is
 * known to us takes by default.
 */
export const USUAL_LIMIT_BYTES = 120_000;

/** A description in as many messages as it takes. */
export interface DiscoveryParts {
  /** In order; the first is at the topic that a description in one message has. One without components is to go. */
  parts: DiscoveryPayload[];
  /** Components that are too large even for a message of their own. */
  tooLarge: string[];
}

/**
 * Spreads a description over messages of at most `limitBytes`, each of which is a description of the same device to Home
 * Assistant. Invariants:
 * - a component is described in one message only: Home Assistant refuses a second one with the same unique id;
 * - what has been announced in a part stays there as long as it fits; what does not fit any more is first taken away
 *   there, and described elsewhere once it is not announced any more;
 * - all else goes to the first part that has room.
 *
 * Pure: the same input gives the same parts. With all the room in the world there is one part.
 * @param whole the description with everything that is to be there, and nothing that is to go
 * @param announced what Home Assistant may know already, for each part
 * @param keepsGone nothing is taken away but what moves
 */
export function splitDiscovery(
  whole: DiscoveryPayload,
  announced: readonly Readonly<Record<string, Platform>>[],
  options: { limitBytes: number; keepsGone: boolean },
): DiscoveryParts {
  const { components: wanted, ...root } = whole;
  const room = options.limitBytes - bytesOf({ ...root, components: {} });
  const parts = announced.map((known) => keptPart(wanted, known, room, options.keepsGone));
  const elsewhere = new Set(announced.flatMap((known) => Object.keys(known)));
  const tooLarge: string[] = [];
  for (const [id, component] of Object.entries(wanted)) {
    if (elsewhere.has(id)) continue;
    const bytes = entryBytes(id, component);
    if (bytes > room) {
      tooLarge.push(id);
      continue;
    }
    let part = parts.find(({ left }) => bytes <= left);
    if (part === undefined) {
      part = { gone: {}, ids: new Set(), left: room };
      parts.push(part);
    }
    part.ids.add(id);
    part.left -= bytes;
  }
  return {
    tooLarge,
    parts: parts.map(({ gone, ids }) => ({
      ...root,
      components: {
        // What goes comes first: Home Assistant leaves off at the first component that it is still busy with.
        ...gone,
        ...Object.fromEntries(Object.entries(wanted).filter(([id]) => ids.has(id))),
      },
    })),
  };
}

interface Part {
  gone: Components;
  ids: Set<string>;
  /** Bytes of room. */
  left: number;
}

/** Of a part that has been announced: what stays, and what is taken away, now as far as there is room for saying so. */
function keptPart(
  wanted: Components,
  known: Readonly<Record<string, Platform>>,
  room: number,
  keepsGone: boolean,
): Part {
  const removal = (id: string): [string, Component] => [id, { platform: known[id]! }];
  const absent = keepsGone ? [] : Object.keys(known).filter((id) => !(id in wanted));
  const saying = absent.reduce((sum, id) => sum + entryBytes(...removal(id)), 0);
  let left = room - Math.min(saying, room / 2);
  const ids = new Set<string>();
  const spilt: string[] = [];
  for (const [id, component] of Object.entries(wanted)) {
    if (!(id in known)) continue;
    const bytes = entryBytes(id, component);
    if (spilt.length === 0 && bytes <= left) {
      ids.add(id);
      left -= bytes;
    } else {
      spilt.push(id);
    }
  }
  left += Math.min(saying, room / 2);
  // Saying that something goes takes room, too.
  while (spilt.length > 0 && ids.size > 0 && left < entryBytes(...removal(spilt[0]!))) {
    const last = [...ids].at(-1)!;
    ids.delete(last);
    spilt.unshift(last);
    left += entryBytes(last, wanted[last]!);
  }
  const gone: Record<string, Component> = {};
  for (const id of [...absent, ...spilt]) {
    const bytes = entryBytes(...removal(id));
    if (bytes > left) break;
    gone[id] = { platform: known[id]! };
    left -= bytes;
  }
  return { gone, ids, left };
}

/** What one more component adds to a description, in bytes. */
function entryBytes(id: string, component: Component): number {
  return bytesOf({ [id]: component });
}

function bytesOf(value: object): number {
  return Buffer.byteLength(JSON.stringify(value));
}
