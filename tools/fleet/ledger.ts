/** What became of the events of a fleet. */
export interface EventReport {
  /** Events that the devices handed to their link, onsets and offsets counted apart. */
  published: number;
  /** Of these, how many the consumer got at least once. */
  received: number;
  lost: number;
  /** Deliveries beyond the first of an event. */
  duplicates: number;
  /** Events whose first delivery came after that of a later event of the same device. */
  out_of_order: number;
  /** Deliveries that said that they had waited. */
  late: number;
  /** Deliveries of events that no device published. */
  unknown: number;
}

/** Compares what was published with what arrived. An event is known by its device, its id and its type. */
export interface Ledger {
  published(device: number, key: string): void;
  received(device: number, key: string, late: boolean): void;
  /** Events that have been published and have not arrived. */
  outstanding(): number;
  report(): EventReport;
}

interface DeviceAccount {
  /** Each event in the order of publication. */
  published: string[];
  /** Each event at its first delivery, in order. */
  arrived: Set<string>;
}

export function createLedger(devices: number): Ledger {
  const accounts = Array.from({ length: devices }, (): DeviceAccount => ({
    published: [],
    arrived: new Set(),
  }));
  let published = 0;
  let arrived = 0;
  let duplicates = 0;
  let late = 0;

  return {
    published(device, key) {
      accounts[device]!.published.push(key);
      published += 1;
    },
    received(device, key, wasLate) {
      if (wasLate) late += 1;
      const account = accounts[device]!;
      if (account.arrived.has(key)) {
        duplicates += 1;
      } else {
        account.arrived.add(key);
        arrived += 1;
      }
    },
    // The words of the devices may arrive after their events, so this may be below 0 for a moment.
    outstanding: () => published - arrived,
    report() {
      let received = 0;
      let outOfOrder = 0;
      for (const account of accounts) {
        const places = new Map(account.published.map((key, place) => [key, place]));
        let furthest = -1;
        for (const key of account.arrived) {
          const place = places.get(key);
          if (place === undefined) continue;
          received += 1;
          if (place < furthest) outOfOrder += 1;
          furthest = Math.max(furthest, place);
        }
      }
      return {
        published,
        received,
        lost: published - received,
        duplicates,
        out_of_order: outOfOrder,
        late,
        unknown: arrived - received,
      };
    },
  };
}
