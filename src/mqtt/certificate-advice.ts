import { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { connect, type ConnectionOptions, type DetailedPeerCertificate } from 'node:tls';
import type { IClientOptions } from 'mqtt';
import type { Failure } from './failure.js';
import { printable } from './refused.js';

/** How long the broker may take to show its certificates once more. */
const LOOK_MS = 5_000;

/** Longer ones are none that anybody has made on purpose. */
const MAX_CHAIN = 10;

/** What a broker shows, and what we trust, as far as it matters for a chain. */
export interface Chain {
  /** From the broker's own certificate upwards, as it sent them. */
  sent: readonly { subject: string; issuer: string }[];
  /** Of `mqtt.ca`; null where the authorities of Node.js are trusted. */
  trusted: readonly { subject: string; issuer: string }[] | null;
}

/** A failure as it is, or with what is really wrong with the chain of the broker's certificate. Never rejects. */
export async function adviseOnChain(
  failure: Failure | null,
  address: string,
  options: IClientOptions,
): Promise<Failure | null> {
  if (failure?.chainFault === undefined) return failure;
  const sent = await sentBy(address, options).catch(() => null);
  if (sent === null || sent.length === 0) return failure;
  const trusted = typeof options.ca === 'string' ? certificatesIn(options.ca) : null;
  const advice = chainAdvice({ sent, trusted });
  return advice === null
    ? failure
    : {
        ...failure,
        reason: `the certificate of the broker is not trusted (${failure.chainFault}): ${advice}`,
      };
}

/** What is to be done about a chain that does not lead to an authority that is trusted; null: nothing is known. */
export function chainAdvice({ sent, trusted }: Chain): string | null {
  const own = sent[0];
  if (own === undefined) return null;
  const isRoot = ({ subject, issuer }: { subject: string; issuer: string }) => subject === issuer;
  /** The highest certificate that the chain reaches, through what was sent and what is trusted. */
  const known = [...sent, ...(trusted ?? [])];
  let top = own;
  for (let step = 0; step < known.length && !isRoot(top); step += 1) {
    const above = known.find(({ subject }) => subject === top.issuer);
    if (above === undefined) break;
    top = above;
  }
  if (trusted === null) {
    return isRoot(top)
      ? `it comes from the private authority ${quoted(top.subject)}: set mqtt.ca to the certificate of that`
      : `nothing that it sends leads to an authority that is known here: set mqtt.ca to the one that signed it (${quoted(top.issuer)}), or, where that is an intermediate of a public one, let the broker send it (add it to its certfile)`;
  }
  const meets = trusted.some(({ subject }) => subject === top.subject);
  if (meets && !isRoot(top)) {
    return `mqtt.ca holds an intermediate (${quoted(top.subject)}): add the root to it, the certificate of ${quoted(top.issuer)}`;
  }
  if (meets) {
    return `mqtt.ca holds another certificate with the name ${quoted(top.subject)} than the one that signed it: was the authority made anew?`;
  }
  if (isRoot(top)) {
    return `it was signed by ${quoted(top.subject)}: set mqtt.ca to the certificate of that authority`;
  }
  return `it was signed by ${quoted(top.issuer)}, which is not in mqtt.ca. If that is an intermediate, the broker does not send its intermediate certificate: add that to mqtt.ca or to the broker's certfile. Else set mqtt.ca to the authority that signed it`;
}

function quoted(name: string): string {
  return `"${printable(name.replaceAll('\n', ', '))}"`;
}

/** The names in PEM text; what cannot be read is left out. */
function certificatesIn(pem: string): { subject: string; issuer: string }[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return blocks.flatMap((block) => {
    try {
      const { subject, issuer } = new X509Certificate(block);
      return [{ subject, issuer }];
    } catch {
      return [];
    }
  });
}

/**
 * The chain that a broker sends. Nothing is said on this connection and nothing is believed: it is closed as soon as
 * the certificates are there.
 */
function sentBy(address: string, options: IClientOptions): Promise<{ subject: string; issuer: string }[]> {
  const url = new URL(address);
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const port = url.port === '' ? (url.protocol === 'wss:' ? 443 : 8883) : Number(url.port);
  const settings: ConnectionOptions = {
    host,
    port,
    rejectUnauthorized: false,
    ...(isIP(host) === 0 && { servername: host }),
    ...(Array.isArray(options.ALPNProtocols) && { ALPNProtocols: options.ALPNProtocols.map(String) }),
    ...(options.cert !== undefined && { cert: options.cert, key: options.key as string }),
  };
  return new Promise((resolve, reject) => {
    const socket = connect(settings, () => {
      const chain: { subject: string; issuer: string }[] = [];
      // Without a certificate Node.js gives an empty object, and a root is its own issuer.
      let next: Partial<DetailedPeerCertificate> = socket.getPeerCertificate(true);
      while (next.raw !== undefined && chain.length < MAX_CHAIN) {
        const { subject, issuer } = new X509Certificate(next.raw);
        chain.push({ subject, issuer });
        if (next.issuerCertificate === undefined || next.issuerCertificate === next) break;
        next = next.issuerCertificate;
      }
      socket.destroy();
      resolve(chain);
    });
    socket.setTimeout(LOOK_MS, () => socket.destroy(new Error('no answer')));
    socket.once('error', reject);
    socket.once('close', () => reject(new Error('closed')));
  });
}
