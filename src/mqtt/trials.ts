import type { MqttClient } from 'mqtt';
import type { Suspects } from './suspects.js';

/** How long something that is tried alone keeps all else waiting for the broker's answer. */
const TRIAL_MS = 10_000;
/** The longest that a timer of Node.js runs. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** Something that may be tried alone now. */
export interface Candidate {
  /** Under which name it is suspected. */
  readonly name: string;
  readonly bytes: number;
  /** Hands it over, now or soon. */
  begin(): void;
}

/**
 * The order of one session while something is suspected: what is free goes first; then nothing is handed over until the
 * broker has read all that is on its way; then one suspect goes, and nothing else until the broker has read that.
 */
export interface Trials {
  /** Nothing but what is being tried may be handed over. */
  readonly exclusive: boolean;
  /** Something is being tried. */
  readonly running: boolean;
  /** Begins the next trial, if it is time for one. */
  next(): void;
  /** The broker has answered something, or something was handed over that it does not answer. */
  look(): void;
  /** The connection is gone. */
  end(): void;
}

/**
 * @param candidates what may be tried alone
 * @param moreIsFree whether something is left that may go before
 * @param pump asks for another look at what may be sent
 */
export function createTrials(options: {
  client: Pick<MqttClient, 'sendPing' | 'on'>;
  suspects: Suspects;
  candidates: () => Candidate[];
  moreIsFree: () => boolean;
  pump: () => void;
}): Trials {
  const { client, suspects, candidates, moreIsFree, pump } = options;
  let trial: NodeJS.Timeout | null = null;
  let clearing = false;
  let over = false;
  /** The broker has left a trial unanswered: there is no second one in this session. */
  let givenUp = false;
  /** What had been handed over when the broker was last asked for a sign of life; null: the answer has come. */
  let asked: number | null = null;
  /** Until what is held may be tried again. */
  let pause: NodeJS.Timeout | null = null;

  client.on('packetsend', ({ cmd }) => {
    if (cmd === 'pingreq') asked = suspects.lastHanded;
  });
  client.on('packetreceive', ({ cmd }) => {
    if (cmd !== 'pingresp' || over) return;
    if (asked !== null) suspects.readUpTo(asked);
    asked = null;
    look();
    if (suspects.any) pump();
  });
  awaitPause();

  /** What is held for a while is tried again in a session that lasts as well. */
  function awaitPause(): void {
    const ms = suspects.nextTrialMs();
    if (ms === Infinity) return;
    pause = setTimeout(
      () => {
        pump();
        if (!over) awaitPause();
      },
      Math.min(ms + 1, MAX_TIMER_MS),
    );
  }

  /** Asks the broker for a sign of life: its answer says that it has read all that was handed over before. */
  function askForSign(): void {
    if (asked === null) client.sendPing();
  }

  function look(): void {
    if (trial === null) return;
    if (suspects.unansweredOnly) {
      askForSign();
      return;
    }
    if (suspects.onTheirWay > 0) return;
    clearTimeout(trial);
    trial = null;
  }

  return {
    get exclusive() {
      return trial !== null || clearing;
    },
    get running() {
      return trial !== null;
    },
    next() {
      if (!suspects.any || trial !== null || givenUp) return;
      const found = candidates();
      // The surest first, so that it is proven soon; of two the smaller one, since it is the larger that is too large.
      found.sort((a, b) => suspects.strikes(b.name) - suspects.strikes(a.name) || a.bytes - b.bytes);
      const [first] = found;
      if (first === undefined) {
        clearing = false;
        return;
      }
      if (!clearing && moreIsFree()) return;
      clearing = suspects.onTheirWay > 0;
      if (clearing) {
        askForSign();
        return;
      }
      trial = setTimeout(() => {
        trial = null;
        givenUp = true;
        pump();
      }, TRIAL_MS);
      first.begin();
      if (suspects.onTheirWay > 0) look();
    },
    look,
    end() {
      over = true;
      for (const timer of [trial, pause]) clearTimeout(timer ?? undefined);
    },
  };
}
