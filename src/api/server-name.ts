// Names of servers as they stand in paths and bodies: "192.0.2.1:80", "[2001:db8::1]:80", without or with port 0 where there is none.
// Guarantees: pure; never throws; another spelling of the same address names the same server.
// Thread: any.
import { parseAddress } from '../config/address.js';

export interface ServerName {
  /** Canonical. */
  readonly address: string;
  /** 0: none of its own. */
  readonly port: number;
}

/** Undefined for what is no address with or without a port. */
export function parseServerName(text: string): ServerName | undefined {
  const bare = parseAddress(text);
  if (bare !== undefined) return { address: bare.text, port: 0 };
  const [, inBrackets, plain, digits] = /^(?:\[([^\]]{1,64})\]|([0-9.]{1,15}))(?::(0|[1-9][0-9]{0,4}))?$/.exec(text) ?? [];
  const address = parseAddress(inBrackets ?? plain ?? '');
  const port = Number(digits ?? 0);
  if (address === undefined || (inBrackets !== undefined) !== (address.family === 6) || port > 65_535) return undefined;
  return { address: address.text, port };
}
