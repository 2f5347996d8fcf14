import type { ByteReader } from './byte-reader.js';
import { forbidden, tooLarge, unreadable } from './faults.js';
import { LIMITS, type Budget } from './limits.js';
import {
  Inert,
  PickleList,
  PickleTuple,
  type PickleDict,
  type PickleValue,
  type Storage,
} from './pickle-values.js';

/** The state of an unpickler: what the opcodes of `pickle-opcodes.ts` work on. Every step of it is bounded. */
export class PickleMachine {
  /** Heights of the stack at the marks. */
  readonly #marks: number[] = [];
  readonly #stack: PickleValue[] = [];
  readonly #memo = new Map<number, PickleValue>();

  constructor(
    readonly bytes: ByteReader,
    readonly storages: Map<string, Storage>,
    readonly budget: Budget,
  ) {}

  push(value: PickleValue): void {
    if (this.#stack.length >= LIMITS.stack) {
      throw tooLarge(`its pickle stacks more than ${LIMITS.stack} values`);
    }
    this.#stack.push(value);
  }

  pop(): PickleValue {
    this.#needOne();
    return this.#stack.pop()!;
  }

  top(): PickleValue {
    this.#needOne();
    return this.#stack.at(-1)!;
  }

  #needOne(): void {
    if (this.#stack.length <= (this.#marks.at(-1) ?? 0)) throw unreadable('its pickle lacks a value');
  }

  mark(): void {
    if (this.#marks.length >= LIMITS.stack) throw tooLarge(`its pickle nests too deeply`);
    this.#marks.push(this.#stack.length);
  }

  /** Python pops a mark that lies on top just like a value. */
  popValueOrMark(): void {
    if (this.#marks.at(-1) === this.#stack.length) this.#marks.pop();
    else this.pop();
  }

  /** Takes what lies above the last mark, and the mark. */
  popToMark(): PickleValue[] {
    const height = this.#marks.pop();
    if (height === undefined) throw unreadable('its pickle lacks a mark');
    this.budget.charge(24 * (this.#stack.length - height));
    return this.#stack.splice(height);
  }

  remember(index: number): void {
    this.budget.charge(48);
    this.#memo.set(index, this.top());
  }

  rememberNext(): void {
    this.remember(this.#memo.size);
  }

  recall(index: number): void {
    const value = this.#memo.get(index);
    if (value === undefined) throw unreadable('its pickle recalls what it never kept');
    this.push(value);
  }

  pushDict(): PickleDict {
    this.budget.charge(200);
    const dict: PickleDict = new Map();
    this.push(dict);
    return dict;
  }

  pushList(items: readonly PickleValue[] = []): void {
    this.budget.charge(64);
    const list = new PickleList();
    this.push(list);
    this.append(items);
  }

  pushTuple(items: readonly PickleValue[]): void {
    this.budget.charge(64 + 24 * items.length);
    this.push(new PickleTuple(items));
  }

  /** A text of so many bytes that follow; one that is too long for a name is skipped and stands as inert. */
  pushText(length: number, encoding: 'utf8' | 'latin1'): void {
    if (length > LIMITS.textBytes) {
      this.bytes.skip(length);
      this.pushInert('a long text');
      return;
    }
    const raw = this.bytes.take(length);
    this.budget.charge(48 + 2 * length);
    this.push(raw.toString(encoding));
  }

  /** Bytes are of no use in a file of weights. */
  pushBytes(length: number): void {
    this.bytes.skip(length);
    this.pushInert('bytes');
  }

  pushInert(what: string): void {
    this.budget.charge(32);
    this.push(new Inert(what));
  }

  append(items: readonly PickleValue[]): void {
    const list = this.top();
    if (!(list instanceof PickleList)) throw unreadable('its pickle appends to what is no list');
    this.budget.charge(24 * items.length);
    for (const item of items) list.items.push(item);
  }

  /** Sets `[key, value, key, value, …]` in the dict on top. */
  setItems(items: readonly PickleValue[]): void {
    const dict = this.top();
    if (!(dict instanceof Map)) throw unreadable('its pickle sets a key of what is no dict');
    if (items.length % 2 !== 0) throw unreadable('its pickle lacks a value');
    this.budget.charge(48 * items.length);
    for (let at = 0; at < items.length; at += 2) dict.set(items[at]!, items[at + 1]!);
  }

  /** The name for a global from the stack. */
  popName(): string {
    const name = this.pop();
    if (typeof name !== 'string') throw forbidden('it refers to a global whose name is no text');
    return name;
  }

  /** The value that the pickle stands for. */
  result(): PickleValue {
    return this.pop();
  }
}
