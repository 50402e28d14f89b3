// Certificates made for one run of the tests: an authority, a server, a client of it, and a client of nobody.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface Pair {
  readonly cert: string;
  readonly key: string;
}

function openssl(folder: string, ...words: string[]): void {
  execFileSync('openssl', words, { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] });
}

/** Paths of a certificate and its key; signed by itself without `issuer`. */
export function makeCertificate(folder: string, name: string, issuer?: string): Pair {
  const request = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  const signed = issuer === undefined ? [] : ['-CA', `${issuer}.pem`, '-CAkey', `${issuer}.key`];
  const extensions = ['-addext', issuer === undefined ? 'subjectAltName=DNS:ca' : 'basicConstraints=critical,CA:FALSE'];
  const address = issuer === undefined ? [] : ['-addext', 'subjectAltName=IP:127.0.0.1'];
  openssl(
    folder,
    ...request,
    '-subj',
    `/CN=${name}`,
    '-keyout',
    `${name}.key`,
    '-out',
    `${name}.pem`,
    ...signed,
    ...extensions,
    ...address,
  );
  return { cert: join(folder, `${name}.pem`), key: join(folder, `${name}.key`) };
}

export const TOKEN = 'a-token-for-tests-0123456789';

export function writeToken(folder: string, token = TOKEN): string {
  const file = join(folder, 'token');
  writeFileSync(file, `${token}\n`);
  return file;
}

export function contents({ cert, key }: Pair): { readonly cert: Buffer; readonly key: Buffer } {
  return { cert: readFileSync(cert), key: readFileSync(key) };
}
