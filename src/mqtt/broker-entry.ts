import { createHash, timingSafeEqual } from 'node:crypto';
import type { AedesOptions, AuthenticateError, Client } from 'aedes';

/** Whoever gives a wrong password waits so long for the answer. */
const WRONG_PASSWORD_DELAY_MS = 1000;

/** Reason codes of a CONNACK (MQTT 3.1.1 section 3.2.2.3). */
const IDENTIFIER_REJECTED = 2;
const WRONG_ACCOUNT = 4;

/** Who is let in. */
export interface Entry {
  authenticate: NonNullable<AedesOptions['authenticate']>;
  /** Answers nobody any more. */
  close(): void;
}

/**
 * @param options.password empty: everybody is let in
 * @param options.ownClientId the id that only the service itself may have
 * @param options.isOwn whether this is the service itself, which needs no password
 */
export function createEntry(options: {
  username: string;
  password: string;
  ownClientId: string | undefined;
  isOwn: (client: Client) => boolean;
}): Entry {
  const { username, password, ownClientId, isOwn } = options;
  const isRight = accountCheck(username, password);
  const delays = new Set<NodeJS.Timeout>();

  return {
    authenticate(client, name, secret, callback) {
      if (isOwn(client)) {
        callback(null, true);
        return;
      }
      if (isRight(name, secret)) {
        if (client.id !== ownClientId) {
          callback(null, true);
          return;
        }
        // The link of the service would lose its connection to whoever comes with its id.
        callback(refusal(IDENTIFIER_REJECTED, 'this id is taken by the service itself'), false);
        return;
      }
      const timer = setTimeout(() => {
        delays.delete(timer);
        callback(refusal(WRONG_ACCOUNT, 'bad user name or password'), false);
      }, WRONG_PASSWORD_DELAY_MS);
      delays.add(timer);
    },
    close() {
      for (const timer of delays) clearTimeout(timer);
    },
  };
}

/** Compares what a client gives with the account, in a time that says nothing about it. */
function accountCheck(username: string, password: string) {
  if (password === '') return () => true;
  const digest = (text: string | Buffer) => createHash('sha256').update(text).digest();
  const [wantedName, wantedSecret] = [digest(username), digest(password)];
  return (name: string | undefined, secret: Buffer | undefined): boolean => {
    const nameIsRight = timingSafeEqual(digest(name ?? ''), wantedName);
    const secretIsRight = timingSafeEqual(digest(secret ?? ''), wantedSecret);
    return nameIsRight && secretIsRight;
  };
}

function refusal(returnCode: number, message: string): AuthenticateError {
  // The type of the code is an enum that exists at compile time only.
  // eslint-disable-next-line @typescript-eslint/no-unsafe-enum-assignment
  return Object.assign(new Error(message), { returnCode });
}
