import { createPrivateKey, X509Certificate } from 'node:crypto';
import { z } from 'zod';
import { formatOf, orEmpty, type Format } from './format-of.js';

const pemBegin = '-----BEGIN';
const base64OfPem = Buffer.from(pemBegin).toString('base64').slice(0, 12);

/**
 * Certificates or a private key as PEM text, or as base64 of it (one line, for environment variables). A path
 * is resolved before this; see `looksLikePath`.
 */
export function pem(kind: 'certificate' | 'key'): Format<string> {
  const what = kind === 'key' ? 'a private key (not encrypted)' : 'one or more certificates';
  const rule = z
    .string()
    .max(1_000_000)
    .refine(kind === 'key' ? isPrivateKey : areCertificates);
  return orEmpty(
    formatOf(rule, {
      allowed: `${what} as PEM text, as base64 of it, or as the path of a PEM file`,
      coerce: (value) => (typeof value === 'string' && value.length <= 1_000_000 ? pemOf(value) : value),
    }),
  );
}

/** Whether what was given for a certificate or a key is the path of a file rather than the thing itself. */
export function looksLikePath(value: string): boolean {
  return value !== '' && !value.includes(pemBegin) && !value.trimStart().startsWith(base64OfPem);
}

function pemOf(given: string): string {
  const isBase64 = given.trimStart().startsWith(base64OfPem);
  return inLines(isBase64 ? Buffer.from(given, 'base64').toString('utf8') : given);
}

function isPrivateKey(pemText: string): boolean {
  try {
    createPrivateKey(pemText);
    return true;
  } catch {
    return false;
  }
}

function areCertificates(pemText: string): boolean {
  const found = pemText.match(/-----BEGIN (TRUSTED |X509 )?CERTIFICATE-----[^-]+-----END [A-Z0-9 ]+-----/g);
  try {
    for (const certificate of found ?? []) new X509Certificate(certificate);
    return found !== null;
  } catch {
    return false;
  }
}

/**
 * PEM text with its line ends. Panels that take one line only (a dashboard's field for a variable) turn them into
 * the two characters "\n" or into spaces, and people put quotes around it.
 */
function inLines(given: string): string {
  const unquoted = given.trim().replace(/^(["'])([^]*)\1$/, '$2');
  const text = unquoted.replace(/(\\r)?\\n/g, '\n').trim();
  const block = /(-----BEGIN [A-Z0-9 ]+-----)[^\S\n]*(?![\s-])([^-]+)(-----END [A-Z0-9 ]+-----)\s*/g;
  return `${text.replace(block, (_, begin: string, body: string, end: string) => {
    const lines = body.replace(/\s+/g, '').match(/.{1,64}/g) ?? [];
    return [begin, ...lines, `${end}\n`].join('\n');
  })}\n`.replace(/\n+$/, '\n');
}
