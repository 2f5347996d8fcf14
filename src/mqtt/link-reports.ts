import type { Logger } from '../common/log.js';
import type { ParsedAccess } from './connection.js';
import type { Failure } from './failure.js';
import { filterOf } from './subscriptions.js';
import type { Hold } from './suspects.js';
import type { Limits } from './terms.js';

/** What the log is told of the connection. */
export interface LinkReports {
  connected(access: ParsedAccess, version: 4 | 5, limits: Limits): void;
  /**
   * There is no connection to this address, or none any more. One line for each change of the reason at an address;
   * repeats only at debug level, until there has been a connection.
   * @param next the address that is tried next
   */
  ended(access: ParsedAccess, failure: Failure, more: { wasConnected: boolean; next: ParsedAccess }): void;
  held(hold: Hold): void;
}

/** `addresses`: all of them, in the order of trying. */
export function createLinkReports(addresses: readonly ParsedAccess[], log: Logger): LinkReports {
  /** Why an address could not be reached, as it was told last since we have been connected. */
  const told = new Map<ParsedAccess, string>();

  /** Which one of several it is. */
  function placeNote(access: ParsedAccess): string {
    return addresses.length === 1 ? '' : `, address ${addresses.indexOf(access) + 1} of ${addresses.length}`;
  }

  return {
    connected(access, version, limits) {
      told.clear();
      log.info(
        { broker: access.label, protocolVersion: version },
        `Connected to ${access.label}${placeNote(access)} (MQTT ${version === 5 ? '5' : '3.1.1'})${keepaliveNote(limits)}`,
      );
    },
    ended(access, failure, { wasConnected, next }) {
      const { label } = access;
      const known = told.get(access) === failure.code;
      told.set(access, failure.code);
      const then = addresses.length === 1 ? 'It goes on trying' : `Next comes ${next.label}`;
      const text = wasConnected
        ? `Lost the connection to ${label}: ${failure.reason}. ${then}`
        : `No connection to ${label}: ${failure.reason}. ${then}`;
      const fields = { broker: label, code: failure.code };
      if (known) log.debug(fields, text);
      else log.warn(fields, text);
    },
    held(hold) {
      const topic = filterOf(hold.topic) ?? hold.topic;
      log.warn({ code: 'topic_held', topic }, heldSentence(hold));
    },
  };
}

function keepaliveNote({ keepaliveSeconds }: Limits): string {
  return keepaliveSeconds === null
    ? ''
    : `; it orders a keep-alive of ${keepaliveSeconds} s, which is kept in place of ours`;
}

function heldSentence({ topic, bytes, ends, maybeSize, forMs }: Hold): string {
  const filter = filterOf(topic);
  const what = filter === undefined ? `${topic} was written to` : `${filter} was subscribed to`;
  const times = ends === 1 ? 'once' : `${ends} times in a row`;
  const size = maybeSize
    ? `, or not to take so large a message (${bytes} bytes, more than any that it has taken)`
    : '';
  const verb = filter === undefined ? 'write' : 'read';
  return `The broker ended the connection ${times} just when ${what}: that is left out for ${Math.ceil(forMs / 60_000)} min, and everything else goes on. It seems not to let this device ${verb} ${filter ?? topic}${size}; its access rules, its limits and its log say more`;
}
