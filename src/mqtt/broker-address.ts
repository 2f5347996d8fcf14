import { SoundpostError, messageOf } from '../common/errors.js';
import { whyNotListening } from '../common/listen.js';

/* Why the embedded broker does not open. */

/** The broker would be open to the network, and there is no password. */
export function unprotected(host: string): SoundpostError {
  return new SoundpostError(
    'broker_unprotected',
    `The embedded broker does not open to the network (broker.host=${host}) without a password: everybody there could listen and command. Set broker.password, use a broker of your own (mqtt.url), or set broker.host to 127.0.0.1.`,
  );
}

/** Why the broker cannot listen: SoundpostError `port_in_use` or `broker_failed`. */
export function listenError(error: unknown, host: string, port: number): SoundpostError {
  const why = whyNotListening(error);
  if (why === 'taken') {
    return new SoundpostError(
      'port_in_use',
      `The embedded broker cannot listen on ${host}:${port}: something does already, probably another MQTT broker. Use that one (mqtt.url=mqtt://127.0.0.1:${port}), or give the embedded one another port (broker.port).`,
      { cause: error },
    );
  }
  const sentences = {
    rights: `The embedded broker may not listen on port ${port}: ports below 1024 need special rights. Set broker.port to 1883 or another one above 1023.`,
    no_address: `The embedded broker cannot listen on ${host}: this machine does not have that address. Set broker.host to 127.0.0.1 or to an address of this machine.`,
    other: `The embedded broker cannot start: ${messageOf(error)}`,
  };
  return new SoundpostError('broker_failed', sentences[why], { cause: error });
}
