import type { z } from 'zod';
import type { clipSpecs } from '../../mqtt/clip-specs.js';
import type { commandSpecs } from '../../mqtt/command-specs.js';
import type { historySpecs } from '../../mqtt/history-specs.js';

/*
 * The commands, as over MQTT: what may be asked and what is answered is known from the schemas of the service. Only
 * types are taken from there, so that nothing of it comes into the page.
 */

type Specs = typeof commandSpecs & typeof historySpecs & typeof clipSpecs;
export type AnyCommand = keyof Specs;
/** What is sent with a command. */
export type Asked<K extends AnyCommand> = z.input<Specs[K]['schema']>;
/** The `data` of its reply. */
export type Answered<K extends AnyCommand> = z.output<Specs[K]['result']>;

/** Where a request was refused, could not be carried out, or did not get through (`code` is `unreachable`). */
export class RequestError extends Error {
  constructor(
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

/** An address of the server, below whatever path the page lies at. */
export function addressOf(path: string): string {
  return new URL(path, document.baseURI).href;
}

async function ask(path: string, body?: unknown): Promise<unknown> {
  let reply: Response;
  try {
    reply = await fetch(addressOf(path), {
      ...(body !== undefined && {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify(body),
      }),
      cache: 'no-store',
    });
  } catch {
    throw new RequestError('unreachable', '');
  }
  let document: { status?: string; data?: unknown; error?: { code: string; message: string } };
  try {
    document = (await reply.json()) as typeof document;
  } catch {
    // A proxy that answers in place of the device.
    throw new RequestError('unreachable', `HTTP ${reply.status}`);
  }
  if (document.status === 'ok') return document.data;
  const error = new RequestError(
    document.error?.code ?? 'unreachable',
    document.error?.message ?? `HTTP ${reply.status}`,
  );
  if (error.code === 'not_signed_in') signedOut();
  throw error;
}

let signedOut: () => void = () => undefined;
/** Has somebody told when the session has ended. */
export function onSignedOut(listener: () => void): void {
  signedOut = listener;
}

/** Has a command carried out. Rejects with RequestError. */
export function request<K extends AnyCommand>(command: K, input: Asked<K>): Promise<Answered<K>> {
  return ask(`api/request/${command}`, input) as Promise<Answered<K>>;
}

export interface Session {
  password_required: boolean;
  signed_in: boolean;
}
export const session = (): Promise<Session> => ask('api/session') as Promise<Session>;
export const login = (password: string): Promise<unknown> => ask('api/login', { password });
export const logout = (): Promise<unknown> => ask('api/logout', {});
