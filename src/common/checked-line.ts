import { crc32c } from './crc32c.js';

/*
 * Lines of files that are only appended: `<check> <body>`, the check being the CRC-32C of the body in eight hexadecimal
 * digits. A damaged line is one line lost, for the next one begins behind a newline.
 */

const NEWLINE = 0x0a;
const SPACE = 0x20;
const CHECK_DIGITS = 8;

/** The line of `body`, which has no newline in it, with the newline at its end. */
export function checkedLine(body: Uint8Array): Buffer {
  const check = crc32c(body).toString(16).padStart(CHECK_DIGITS, '0');
  return Buffer.concat([Buffer.from(`${check} `), body, Buffer.of(NEWLINE)]);
}

/** The body of a line without its newline, or null where it is not whole. A view of the same bytes. */
export function bodyOf(line: Uint8Array): Buffer | null {
  if (line.length <= CHECK_DIGITS || line[CHECK_DIGITS] !== SPACE) return null;
  let check = 0;
  for (let n = 0; n < CHECK_DIGITS; n += 1) {
    const digit = digitOf(line[n]!);
    if (digit < 0) return null;
    check = check * 16 + digit;
  }
  const body = Buffer.from(line.buffer, line.byteOffset + CHECK_DIGITS + 1, line.length - CHECK_DIGITS - 1);
  return check === crc32c(body) ? body : null;
}

/** What a lower-case hexadecimal digit stands for, or -1. */
function digitOf(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  return byte >= 0x61 && byte <= 0x66 ? byte - 0x57 : -1;
}
