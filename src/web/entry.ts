import type { IncomingMessage } from 'node:http';
import { z } from 'zod';
import { SoundpostError } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import { createAttempts } from './attempts.js';
import { createSessions, passwordCheck, type Session } from './sessions.js';
import type { Visitor } from './visitor.js';

/** The body of a login. */
export const loginSchema = z.strictObject({
  password: z.string('has to be text').max(1024, 'has to be at most 1024 characters'),
});

/** Who is let in. */
export interface Entry {
  /** Whether a password has to be given here. */
  asks(visitor: Visitor): boolean;
  /**
   * Lets somebody in, or not: throws SoundpostError `not_signed_in`.
   * @returns the session; null where nobody is asked
   */
  admit(request: IncomingMessage, visitor: Visitor): Session | null;
  /**
   * Begins a session; returns the `Set-Cookie` of it, null where nobody is asked. Throws SoundpostError
   * `password_wrong`, or TooManyAttempts.
   */
  login(password: string, visitor: Visitor): string | null;
  /** Ends the session of a request; returns the `Set-Cookie` that takes its cookie away. */
  logout(request: IncomingMessage, visitor: Visitor): string;
}

/** Where the password was wrong too often. */
export class TooManyAttempts extends SoundpostError {
  constructor(readonly seconds: number) {
    super('too_many_attempts', `The password was wrong too often. Try again in ${seconds} s.`);
  }
}

/**
 * @param options.password empty: nobody is asked, which is for a server that only this machine or the ingress reaches
 * @param options.now in ms, of a clock that is never set
 */
export function createEntry(options: {
  password: string;
  port: () => number;
  log: Logger;
  now: () => number;
}): Entry {
  const { password, port, log, now } = options;
  const sessions = createSessions(now);
  const attempts = createAttempts(now);
  const isRight = passwordCheck(password);

  const asks = ({ isIngress }: Visitor): boolean => password !== '' && !isIngress;
  // Ports do not part cookies: two devices behind one name must not sign each other out. `__Host-` ties one to https.
  const nameOf = ({ isSecure }: Visitor): string => `${isSecure ? '__Host-' : ''}soundpost-${port()}`;
  const cookie = (visitor: Visitor, value: string, maxAge: string): string =>
    `${nameOf(visitor)}=${value}; Path=/; HttpOnly; SameSite=Strict${maxAge}${visitor.isSecure ? '; Secure' : ''}`;
  function tokensOf({ headers }: IncomingMessage): string[] {
    const names = [`soundpost-${port()}`, `__Host-soundpost-${port()}`];
    return (headers.cookie ?? '')
      .split(';')
      .map((part) => part.trim().split('=', 2))
      .flatMap(([name = '', value = '']) => (names.includes(name) && value.length === 43 ? [value] : []))
      .slice(0, 4);
  }

  return {
    asks,
    admit(request, visitor) {
      if (!asks(visitor)) return null;
      for (const token of tokensOf(request)) {
        const session = sessions.find(token);
        if (session !== null) return session;
      }
      throw new SoundpostError('not_signed_in', 'Sign in first: POST the password to api/login.');
    },
    login(given, visitor) {
      if (!asks(visitor)) return null;
      const waitMs = attempts.waitMs(visitor.address);
      if (waitMs > 0) throw new TooManyAttempts(Math.ceil(waitMs / 1000));
      if (!isRight(given)) {
        attempts.failed(visitor.address);
        log.warn({ code: 'password_wrong' }, `A wrong password for the page came from ${visitor.address}`);
        throw new SoundpostError('password_wrong', 'This is not the password.');
      }
      attempts.passed(visitor.address);
      return cookie(visitor, sessions.begin(), '');
    },
    logout(request, visitor) {
      for (const token of tokensOf(request)) sessions.end(token);
      return cookie(visitor, '', '; Max-Age=0');
    },
  };
}
