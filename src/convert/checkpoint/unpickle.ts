import { setImmediate } from 'node:timers/promises';
import type { ByteReader } from './byte-reader.js';
import { tooLarge, unreadable } from './faults.js';
import { LIMITS, type Budget } from './limits.js';
import { PickleMachine } from './pickle-machine.js';
import { OPCODES, STOP } from './pickle-opcodes.js';
import type { PickleValue, Storage } from './pickle-values.js';

/** After so many opcodes the event loop has a turn (some milliseconds). */
const SLICE = 20_000;

export interface UnpickleOptions {
  budget: Budget;
  /** Collects the storages that the pickle declares, by key. */
  storages: Map<string, Storage>;
  signal?: AbortSignal | undefined;
}

/**
 * The value of the next pickle; the reader stands behind it afterwards. A pickle is a program for a stack machine.
 * This one can build plain containers, and tensors through the globals of `pickle-globals.ts`, and nothing else; it
 * does not recurse, and time and memory are bounded by `LIMITS` and the budget.
 *
 * Throws faults; `checkpoint_forbidden` for what only code could answer.
 */
export async function unpickle(bytes: ByteReader, options: UnpickleOptions): Promise<PickleValue> {
  const machine = new PickleMachine(bytes, options.storages, options.budget);
  for (let count = 0; count < LIMITS.opcodes; count += 1) {
    if (count % SLICE === SLICE - 1) {
      await setImmediate();
      options.signal?.throwIfAborted();
    }
    const code = bytes.byte();
    if (code === STOP) return machine.result();
    const opcode = OPCODES[code];
    if (opcode === undefined) {
      throw unreadable(`it holds a pickle with the unknown opcode 0x${code.toString(16).padStart(2, '0')}`);
    }
    opcode(machine);
  }
  throw tooLarge(`its pickle takes more than ${LIMITS.opcodes} steps`);
}
