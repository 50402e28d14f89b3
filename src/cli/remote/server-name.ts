// The server that a person means: "192.0.2.11:8080", "[2001:db8::1]:80", or an address alone where the service has it once.
// Guarantees: the name is in the form of the API (RFC 5952); what cannot be meant is an error that lists what can.
// Thread: main.
import type { ApiClient } from '../../client/client.js';
import { parseAddress } from '../../config/address.js';
import { createError } from '../../errors.js';

/** Address and, if written, port; undefined for anything else. */
export function parseServer(text: string): { readonly address: string; readonly port?: number } | undefined {
  const [, bracketed, plain, digits] = /^(?:\[([^\]]*)\]|([^:[\]]*)):([0-9]{1,5})$/.exec(text) ?? [];
  const port = Number(digits);
  const address = parseAddress(bracketed ?? plain ?? text.replace(/^\[(.*)\]$/, '$1'));
  if (address === undefined || (digits !== undefined && port > 65_535)) return undefined;
  return digits === undefined ? { address: address.text } : { address: address.text, port };
}

/** Asks the daemon only when no port is written. */
export async function resolveServer(client: ApiClient, service: string, text: string): Promise<string> {
  const parsed = parseServer(text);
  if (parsed === undefined) {
    throw createError('MILLRACE_E_INPUT_INVALID', `${JSON.stringify(text)} is no server`, {
      remedy: 'Write ADDRESS:PORT, such as 192.0.2.11:8080 or [2001:db8::11]:8080; `millrace servers` lists them.',
    });
  }
  const { address, port } = parsed;
  if (port !== undefined) return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
  const { servers } = await client.call('service', { params: { service } });
  const found = servers.filter((server) => server.address === address);
  if (found.length === 1 && found[0] !== undefined) return found[0].server;
  const list = (found.length === 0 ? servers : found).slice(0, 8).map(({ server }) => server);
  throw createError(
    'MILLRACE_E_INPUT_INVALID',
    found.length === 0
      ? `service "${service}" has no server ${address}`
      : `service "${service}" has ${found.length} servers with the address ${address}`,
    { remedy: list.length === 0 ? 'The service has no servers.' : `Write one of ${list.join(', ')}.` },
  );
}
