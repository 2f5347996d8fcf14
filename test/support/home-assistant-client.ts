import WebSocket from 'ws';
import { z } from 'zod';
import { createWaiting } from './waiting.js';

/*
 * A client of the real Home Assistant, over its own WebSocket interface (developers.home-assistant.io, "WebSocket
 * API"): states as they change, services, and the registries of devices and entities.
 */

const stateSchema = z.object({
  entity_id: z.string(),
  state: z.string(),
  attributes: z.record(z.string(), z.unknown()),
});
/** A state of an entity as Home Assistant has it. */
export type EntityState = z.infer<typeof stateSchema>;

const messageSchema = z.object({
  id: z.number().optional(),
  type: z.string(),
  success: z.boolean().optional(),
  result: z.unknown().optional(),
  error: z.object({ code: z.string(), message: z.string() }).optional(),
  event: z
    .object({ data: z.object({ entity_id: z.string(), new_state: stateSchema.nullable() }) })
    .optional(),
});

/** What is known of an entity whether it is enabled or not. */
export interface RegistryEntry {
  entity_id: string;
  unique_id: string;
  name: string | null;
  original_name: string | null;
  entity_category: string | null;
  disabled_by: string | null;
  device_id: string;
  platform: string;
}

export interface RegistryDevice {
  id: string;
  name: string;
  name_by_user: string | null;
  identifiers: [string, string][];
  manufacturer: string | null;
  model: string | null;
  sw_version: string | null;
  via_device_id: string | null;
}

export interface HomeClient {
  /** The state now; undefined where there is no such entity, or a disabled one. */
  state(entityId: string): EntityState | undefined;
  /** Every change of any state since the connection, in order; null where an entity went. */
  readonly changes: readonly { entityId: string; now: EntityState | null }[];
  /** Resolves with the state once it fits, now or later; undefined: there is no such entity. */
  until<T extends EntityState | undefined = EntityState>(
    entityId: string,
    fits: (now: EntityState | undefined) => boolean,
    seconds?: number,
  ): Promise<T>;
  /** Calls the service `domain.name` for an entity; rejects with what Home Assistant says of it. */
  call(service: `${string}.${string}`, entityId: string, data?: object): Promise<void>;
  ask(type: string, more?: object): Promise<unknown>;
  entries(): Promise<RegistryEntry[]>;
  devices(): Promise<RegistryDevice[]>;
  close(): void;
}

/** @param url of Home Assistant, such as `http://127.0.0.1:8123` */
export async function connectClient(url: string, token: string): Promise<HomeClient> {
  const socket = new WebSocket(`${url.replace(/^http/, 'ws')}/api/websocket`, { maxPayload: 1 << 26 });
  const waiting = createWaiting();
  const states = new Map<string, EntityState>();
  const changes: { entityId: string; now: EntityState | null }[] = [];
  const answers = new Map<number, { resolve: (result: unknown) => void; reject: (error: Error) => void }>();
  let lastId = 0;
  let isIn = false;
  let isClosed = false;

  socket.on('message', (data: Buffer) => {
    const message = messageSchema.parse(JSON.parse(data.toString()));
    if (message.type === 'auth_required') {
      socket.send(JSON.stringify({ type: 'auth', access_token: token }));
    } else if (message.type === 'auth_ok') {
      isIn = true;
    } else if (message.type === 'result' && message.id !== undefined) {
      const answer = answers.get(message.id);
      answers.delete(message.id);
      if (message.success === true) answer?.resolve(message.result);
      else answer?.reject(new Error(`${message.error?.code ?? 'error'}: ${message.error?.message ?? ''}`));
    } else if (message.event !== undefined) {
      const { entity_id: entityId, new_state: now } = message.event.data;
      if (now === null) states.delete(entityId);
      else states.set(entityId, now);
      changes.push({ entityId, now });
    }
    waiting.wake();
  });
  socket.on('close', () => {
    isClosed = true;
    for (const { reject } of answers.values()) reject(new Error('Home Assistant has gone'));
    answers.clear();
    waiting.wake();
  });
  socket.on('error', () => undefined);
  await waiting.until(
    () => {
      if (isClosed && !isIn) throw new Error(`no connection to ${url}`);
      return isIn;
    },
    'a session with Home Assistant',
    60,
  );

  const ask = (type: string, more: object = {}): Promise<unknown> =>
    new Promise((resolve, reject) => {
      if (isClosed) {
        reject(new Error('Home Assistant has gone'));
        return;
      }
      lastId += 1;
      answers.set(lastId, { resolve, reject });
      socket.send(JSON.stringify({ id: lastId, type, ...more }));
    });

  await ask('subscribe_events', { event_type: 'state_changed' });
  for (const state of z.array(stateSchema).parse(await ask('get_states'))) states.set(state.entity_id, state);

  return {
    state: (entityId) => states.get(entityId),
    changes,
    async until<T extends EntityState | undefined = EntityState>(
      entityId: string,
      fits: (now: EntityState | undefined) => boolean,
      seconds = 90,
    ) {
      const said = () => JSON.stringify(states.get(entityId) ?? 'not there').slice(0, 600);
      await waiting.until(
        () => {
          if (isClosed) throw new Error(`Home Assistant has gone while ${entityId} was waited for`);
          return fits(states.get(entityId));
        },
        () => `${entityId} fitting ${String(fits)}; it is ${said()}`,
        seconds,
      );
      return states.get(entityId) as T;
    },
    async call(service, entityId, data = {}) {
      const [domain, name] = service.split('.');
      await ask('call_service', {
        domain,
        service: name,
        service_data: data,
        target: { entity_id: entityId },
      });
    },
    ask,
    entries: async () => (await ask('config/entity_registry/list')) as RegistryEntry[],
    devices: async () => (await ask('config/device_registry/list')) as RegistryDevice[],
    close: () => socket.terminate(),
  };
}
