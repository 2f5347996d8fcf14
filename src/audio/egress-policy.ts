import { lookup } from 'node:dns/promises';
import { messageOf, SoundpostError } from '../common/errors.js';
import { isPublicAddress, plainHost } from '../common/public-address.js';

/** Which machines a stream may lead to. */
export interface EgressPolicy {
  /**
   * The IP addresses of a host that may be connected to. What has been judged must be what is connected to: a name
   * can mean another machine at the next question.
   *
   * Throws SoundpostError `out_of_reach`, also where the name is not known.
   */
  addressesOf(host: string): Promise<string[]>;
}

/**
 * A stream from the public internet must not make this machine knock at doors in its own network: a redirect or a
 * playlist may lead to any public host, but into the local network only to the host that the address itself names.
 */
export function createEgressPolicy(named: string): EgressPolicy {
  return {
    async addressesOf(host) {
      const wanted = plainHost(host);
      const addresses = await resolve(wanted);
      if (wanted === plainHost(named)) return addresses;
      const own = addresses.every(isPublicAddress) ? [] : await resolve(plainHost(named)).catch(() => []);
      const allowed = addresses.filter((address) => isPublicAddress(address) || own.includes(address));
      if (allowed.length > 0) return allowed;
      throw new SoundpostError(
        'out_of_reach',
        `it leads to ${wanted}, which is in the local network and not the host that the address names. Where that is meant, give the address of the stream on ${wanted} itself`,
      );
    },
  };
}

async function resolve(host: string): Promise<string[]> {
  try {
    return (await lookup(host, { all: true })).map(({ address }) => address);
  } catch (error) {
    throw new SoundpostError('out_of_reach', `${host} is not known: ${messageOf(error)}`, { cause: error });
  }
}
