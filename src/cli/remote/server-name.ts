// The server that a person means: "192.0.2.11:8080", "[2001:db8::1]:80", or an address alone where the service has it once.
// Guarantees: the name is in the form of the API (RFC 5952); what cannot be meant is an error that lists what can.
// Thread: main.
import type { ApiClient } from '../../client/client.js';
import { parseAddress } from '../../config/address.js';
import { endpoint } from '../../control/endpoint.js';
import { createError } from '../../errors.js';

/** Address and, if written, port; undefined for anything else. */
export function parseServer(text: string): { readonly address: string; readonly port?: number } | undefined {
  const [, bracketed, plain, digits] = /^(?:\[([^\]]*)\]|([^:[\]]*)):([0-9]{1,5})$/.exec(text) ?? [];
  const port = Number(digits);
  const address = parseAddress(bracketed ?? plain ?? text.replace(/^\[(.*)\]$/, '$1'));
  if (address === undefined || (digits !== undefined && port > 65_535)) return undefined;
  return digits === undefined ? { address: address.text } : { address: address.text, port };
}

/** Asks the daemon only when no port is written. `service` undefined: a server of any. */
export async function resolveServer(client: ApiClient, service: string | undefined, text: string): Promise<string> {
  const parsed = parseServer(text);
  if (parsed === undefined) {
    throw createError('MILLRACE_E_INPUT_INVALID', `${JSON.stringify(text)} is no server`, {
      remedy: 'Write ADDRESS:PORT, such as 192.0.2.11:8080 or [2001:db8::11]:8080; `millrace servers` lists them.',
    });
  }
  const { address, port } = parsed;
  if (port !== undefined) return endpoint(address, port);
  const services =
    service === undefined ? await client.call('services') : [await client.call('service', { params: { service } })];
  const servers = services.flatMap((each) => each.servers);
  const found = [...new Set(servers.flatMap((server) => (server.address === address ? [server.server] : [])))];
  if (found.length === 1 && found[0] !== undefined) return found[0];
  const list = found.length === 0 ? [...new Set(servers.map(({ server }) => server))] : found;
  const where = service === undefined ? 'there are' : `service "${service}" has`;
  throw createError(
    'MILLRACE_E_INPUT_INVALID',
    found.length === 0
      ? `${service === undefined ? 'there is' : where} no server ${address}`
      : `${where} ${found.length} servers with the address ${address}`,
    { remedy: list.length === 0 ? 'There are no servers.' : `Write one of ${list.slice(0, 8).join(', ')}.` },
  );
}
