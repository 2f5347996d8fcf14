import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** A certificate with its key, as files and as PEM text. */
export interface Issued {
  certFile: string;
  keyFile: string;
  cert: string;
  key: string;
}

/** A private authority made with openssl. */
export interface Authority extends Issued {
  /** An intermediate authority, `<name> authority`, that this one has signed. */
  issueAuthority(name: string): Authority;
  /** @param names of a server: `DNS:localhost`, `IP:127.0.0.1`; @param days negative: it has expired. */
  issue(commonName: string, options?: { names?: string[]; days?: number }): Issued;
}

function openssl(...args: string[]): void {
  execFileSync('openssl', args, { stdio: ['ignore', 'ignore', 'pipe'] });
}

const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

/** Makes an authority in a folder; its files and those it issues begin with `name`. */
export function createAuthority(folder: string, name: string): Authority {
  const certFile = join(folder, `${name}.pem`);
  const keyFile = join(folder, `${name}.key`);
  const subject = ['-subj', `/CN=${name} authority`];
  openssl('req', '-x509', ...newKey, ...subject, '-days', '30', '-keyout', keyFile, '-out', certFile);
  return authorityOf(folder, name, certFile, keyFile);
}

function authorityOf(folder: string, name: string, certFile: string, keyFile: string): Authority {
  let count = 0;
  const read = (certFile: string, keyFile: string): Issued => ({
    certFile,
    keyFile,
    cert: readFileSync(certFile, 'utf8'),
    key: readFileSync(keyFile, 'utf8'),
  });
  const sign = (commonName: string, extension: string, days: number): Issued => {
    count += 1;
    const at = join(folder, `${name}-${count}`);
    const [cert, key, request, extensions] = [`${at}.pem`, `${at}.key`, `${at}.csr`, `${at}.ext`];
    openssl('req', '-new', ...newKey, '-subj', `/CN=${commonName}`, '-keyout', key, '-out', request);
    writeFileSync(extensions, extension);
    const signed = ['-CA', certFile, '-CAkey', keyFile, '-set_serial', String(count), '-days', String(days)];
    openssl('x509', '-req', '-in', request, ...signed, '-extfile', extensions, '-out', cert);
    return read(cert, key);
  };
  return {
    ...read(certFile, keyFile),
    issue: (commonName, { names = [], days = 30 } = {}) =>
      sign(commonName, names.length === 0 ? '' : `subjectAltName=${names.join(',')}\n`, days),
    issueAuthority(below) {
      const made = sign(`${below} authority`, 'basicConstraints=critical,CA:TRUE\n', 30);
      return authorityOf(folder, below, made.certFile, made.keyFile);
    },
  };
}
