import { SoundpostError, messageOf } from '../common/errors.js';
import { whyNotListening } from '../common/listen.js';

/* Why the page does not open. */

/** The page would be open to the network, and there is no password. */
export function unprotected(host: string): SoundpostError {
  return new SoundpostError(
    'web_unprotected',
    `The page does not open to the network (web.host=${host}) without a password: everybody there could look on and command. Set web.password, or set web.host to 127.0.0.1.`,
  );
}

/** Why the page cannot listen: SoundpostError `port_in_use` or `web_failed`. */
export function listenError(error: unknown, host: string, port: number): SoundpostError {
  const why = whyNotListening(error);
  if (why === 'taken') {
    return new SoundpostError(
      'port_in_use',
      `The page cannot be served on ${host}:${port}: something is there already. Give it another port (web.port).`,
      { cause: error },
    );
  }
  const sentences = {
    rights: `The page may not be served on port ${port}: ports below 1024 need special rights. Set web.port to 8099 or another one above 1023.`,
    no_address: `The page cannot be served on ${host}: this machine does not have that address. Set web.host to 127.0.0.1 or to an address of this machine.`,
    other: `The page cannot be served: ${messageOf(error)}`,
  };
  return new SoundpostError('web_failed', sentences[why], { cause: error });
}
