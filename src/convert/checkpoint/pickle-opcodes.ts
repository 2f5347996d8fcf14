import { forbidden, unreadable } from './faults.js';
import { call, lookUp, persistent } from './pickle-globals.js';
import type { PickleMachine } from './pickle-machine.js';
import { Inert, KnownGlobal, PickleTuple, TensorView, type PickleValue } from './pickle-values.js';

/** What an opcode does; STOP is not among them. */
export type Opcode = (m: PickleMachine) => void;

const MAX_LINE_BYTES = 4096;
/** More than any number a checkpoint holds; the magic number of old files has 10. */
const MAX_NUMBER_BYTES = 64;
const EXTENSION = 'it refers to a global by an extension code, which has no place in a file of weights';

const uint16 = (m: PickleMachine): number => m.bytes.take(2).readUInt16LE();
const uint32 = (m: PickleMachine): number => m.bytes.take(4).readUInt32LE();

/** A length of 8 bytes; one that is no safe integer is longer than any file. */
function uint64(m: PickleMachine): number {
  const raw = m.bytes.take(8);
  return raw.readUInt32LE(4) * 2 ** 32 + raw.readUInt32LE(0);
}

/** A whole number of `length` bytes, two's complement, little-endian. */
function long(m: PickleMachine, length: number): number | bigint {
  if (length > MAX_NUMBER_BYTES) throw unreadable(`its pickle holds a number of ${length} bytes`);
  const raw = Buffer.from(m.bytes.take(length)).reverse();
  if (raw.length === 0) return 0;
  return narrow(m, BigInt.asIntN(8 * length, BigInt(`0x${raw.toString('hex')}`)));
}

/** A number, where it is a safe integer. */
function narrow(m: PickleMachine, value: bigint): number | bigint {
  const number = Number(value);
  if (Number.isSafeInteger(number)) return number;
  m.budget.charge(64);
  return value;
}

/** A number as text, with a trailing L from Python 2. */
function decimal(m: PickleMachine): number | bigint {
  const text = m.bytes.line(MAX_NUMBER_BYTES).trim().replace(/L$/, '');
  if (!/^[+-]?[0-9]+$/.test(text)) throw unreadable('its pickle holds a malformed number');
  return narrow(m, BigInt(text.startsWith('+') ? text.slice(1) : text));
}

function memoIndex(m: PickleMachine): number {
  const index = decimal(m);
  if (typeof index !== 'number' || index < 0) throw unreadable('its pickle holds a malformed number');
  return index;
}

function pushLine(m: PickleMachine): void {
  const text = m.bytes.line(MAX_LINE_BYTES);
  m.budget.charge(48 + 2 * text.length);
  m.push(text);
}

function popTuple(m: PickleMachine, count: number): void {
  const items: PickleValue[] = [];
  for (let n = 0; n < count; n += 1) items.unshift(m.pop());
  m.pushTuple(items);
}

function callFromStack(m: PickleMachine): void {
  const args = m.pop();
  m.push(call(m.pop(), args, m.budget));
}

/** The state of an object, such as the `_metadata` of a state dict: of no use here. */
function build(m: PickleMachine): void {
  m.pop();
  const target = m.top();
  const harmless = target instanceof Map || target instanceof Inert || target instanceof TensorView;
  if (!harmless) throw unreadable('its pickle sets the state of what has none');
}

const TEXT: Record<string, Opcode> = {
  // Python's quotes stay: texts of protocol 0 are read only so that what they call can be named.
  S: pushLine,
  V: pushLine,
  T: (m) => m.pushText(uint32(m), 'latin1'),
  U: (m) => m.pushText(m.bytes.byte(), 'latin1'),
  X: (m) => m.pushText(uint32(m), 'utf8'),
  '\x8c': (m) => m.pushText(m.bytes.byte(), 'utf8'),
  '\x8d': (m) => m.pushText(uint64(m), 'utf8'),
  B: (m) => m.pushBytes(uint32(m)),
  C: (m) => m.pushBytes(m.bytes.byte()),
  '\x8e': (m) => m.pushBytes(uint64(m)),
  '\x96': (m) => m.pushBytes(uint64(m)),
};

const NUMBERS: Record<string, Opcode> = {
  N: (m) => m.push(null),
  '\x88': (m) => m.push(true),
  '\x89': (m) => m.push(false),
  J: (m) => m.push(m.bytes.take(4).readInt32LE()),
  K: (m) => m.push(m.bytes.byte()),
  M: (m) => m.push(uint16(m)),
  G: (m) => m.push(m.bytes.take(8).readDoubleBE()),
  '\x8a': (m) => m.push(long(m, m.bytes.byte())),
  '\x8b': (m) => m.push(long(m, uint32(m))),
  I: (m) => m.push(decimal(m)),
  L: (m) => m.push(decimal(m)),
  F: (m) => m.push(Number(m.bytes.line(MAX_NUMBER_BYTES))),
};

const CONTAINERS: Record<string, Opcode> = {
  '}': (m) => void m.pushDict(),
  d: (m) => {
    const items = m.popToMark();
    m.pushDict();
    m.setItems(items);
  },
  s: (m) => {
    const value = m.pop();
    m.setItems([m.pop(), value]);
  },
  u: (m) => m.setItems(m.popToMark()),
  ']': (m) => m.pushList(),
  l: (m) => m.pushList(m.popToMark()),
  a: (m) => m.append([m.pop()]),
  e: (m) => m.append(m.popToMark()),
  '\x8f': (m) => m.pushList(),
  '\x90': (m) => m.append(m.popToMark()),
  '\x91': (m) => m.pushTuple(m.popToMark()),
  ')': (m) => m.pushTuple([]),
  t: (m) => m.pushTuple(m.popToMark()),
  '\x85': (m) => popTuple(m, 1),
  '\x86': (m) => popTuple(m, 2),
  '\x87': (m) => popTuple(m, 3),
};

const STACK: Record<string, Opcode> = {
  '(': (m) => m.mark(),
  '0': (m) => m.popValueOrMark(),
  '1': (m) => void m.popToMark(),
  '2': (m) => m.push(m.top()),
  p: (m) => m.remember(memoIndex(m)),
  q: (m) => m.remember(m.bytes.byte()),
  r: (m) => m.remember(uint32(m)),
  '\x94': (m) => m.rememberNext(),
  g: (m) => m.recall(memoIndex(m)),
  h: (m) => m.recall(m.bytes.byte()),
  j: (m) => m.recall(uint32(m)),
  '\x80': (m) => {
    const protocol = m.bytes.byte();
    if (protocol > 5) throw unreadable(`its pickle is of protocol ${protocol}; 2 to 5 are known`);
  },
  // A frame says only how much to read ahead.
  '\x95': (m) => {
    if (uint64(m) > m.bytes.left) throw unreadable('it is cut off, or a length in it is wrong');
  },
};

const OBJECTS: Record<string, Opcode> = {
  c: (m) => {
    const module = m.bytes.line(MAX_LINE_BYTES);
    pushGlobal(m, module, m.bytes.line(MAX_LINE_BYTES));
  },
  '\x93': (m) => {
    const name = m.popName();
    pushGlobal(m, m.popName(), name);
  },
  R: callFromStack,
  '\x81': callFromStack,
  '\x92': (m) => {
    const named = m.pop();
    if (!(named instanceof Map) || named.size > 0) throw unreadable('its pickle makes an object by keywords');
    callFromStack(m);
  },
  i: (m) => {
    const module = m.bytes.line(MAX_LINE_BYTES);
    const global = lookUp(module, m.bytes.line(MAX_LINE_BYTES));
    m.push(call(global, new PickleTuple(m.popToMark()), m.budget));
  },
  o: (m) => {
    const [global, ...args] = m.popToMark();
    if (!(global instanceof KnownGlobal)) throw unreadable('its pickle calls what cannot be called');
    m.push(call(global, new PickleTuple(args), m.budget));
  },
  b: build,
  Q: (m) => m.push(persistent(m.pop(), m.storages, m.budget)),
  P: (m) => m.push(persistent(m.bytes.line(MAX_LINE_BYTES), m.storages, m.budget)),
  '\x82': () => {
    throw forbidden(EXTENSION);
  },
  '\x83': () => {
    throw forbidden(EXTENSION);
  },
  '\x84': () => {
    throw forbidden(EXTENSION);
  },
};

function pushGlobal(m: PickleMachine, module: string, name: string): void {
  const global = lookUp(module, name);
  m.budget.charge(96);
  m.push(global);
}

export const STOP = '.'.charCodeAt(0);

/** By the opcode's byte; protocols 2 to 5 without out-of-band buffers. From CPython's Lib/pickletools.py. */
export const OPCODES: readonly (Opcode | undefined)[] = (() => {
  const table = new Array<Opcode | undefined>(256).fill(undefined);
  for (const part of [TEXT, NUMBERS, CONTAINERS, STACK, OBJECTS]) {
    for (const [character, opcode] of Object.entries(part)) table[character.charCodeAt(0)] = opcode;
  }
  return table;
})();
