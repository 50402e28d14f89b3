// Which services belong to which vrrp_instance, and which of them are in force in a given state.
// Guarantees: pure; a service none of whose addresses is in an instance is always in force. A service that is elsewhere stays, so that its
// servers are checked and sessions that still arrive are served; the link hears nothing of it.
// Thread: any; no state.
import { parseAddress } from '../config/address.js';
import type { Config, ServiceConfig } from '../config/schema.js';
import type { Statement } from './parser.js';
import type { VrrpStates } from './vrrp-follower.js';

/** Blocks of a vrrp_instance with addresses that move with it. */
export const ADDRESS_BLOCKS = ['virtual_ipaddress', 'virtual_ipaddress_excluded'];

/** The address that a line of such a block begins with, in its canonical text. */
export function addressOfLine({ keyword }: Statement): string | undefined {
  return parseAddress(keyword.text.replace(/\/[0-9]+$/, ''))?.text;
}

/** Name of the instance by address. */
export function instancesByAddress(statements: readonly Statement[]): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const { keyword, args, block } of statements) {
    const name = args[0]?.text;
    if (keyword.text !== 'vrrp_instance' || name === undefined) continue;
    const lists = (block ?? []).filter((child) => ADDRESS_BLOCKS.includes(child.keyword.text));
    for (const line of lists.flatMap((list) => list.block ?? [])) {
      const address = addressOfLine(line);
      if (address !== undefined && !found.has(address)) found.set(address, name);
    }
  }
  return found;
}

/** The configuration with the services whose addresses are elsewhere silent; of a list of matches only those that are here. */
export function inForce(config: Config, instances: ReadonlyMap<string, string>, states: VrrpStates): Config {
  const isHere = (address: string | undefined): boolean => {
    const instance = instances.get(address === undefined ? '' : (parseAddress(address)?.text ?? ''));
    return instance === undefined || states.get(instance) === 'MASTER';
  };
  const services = config.services.flatMap((service): ServiceConfig[] => {
    if (service.match === undefined) return [isHere(service.address) ? service : { ...service, announce: false }];
    const match = service.match.filter(({ destination }) => isHere(destination));
    return match.length === 0 ? [] : [{ ...service, match }];
  });
  return { ...config, services };
}
