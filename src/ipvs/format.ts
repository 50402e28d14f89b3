// How ipvsadm writes an address with its port, and large numbers.
// Guarantees: pure but for the resolver; never throws.
// Thread: any.
import { formatAddress } from './address.js';
import type { Protocol, ServerKey } from './model.js';
import type { Resolver } from './names.js';

/** ADDRESS:PORT is cut to this many characters, also in what -S saves. */
const ADDRESS_PORT_LENGTH = 59;

/** ADDRESS:PORT, with names where a resolver is given and knows them. `protocol` is undefined for templates of marks. */
export function formatAddressPort(key: ServerKey, protocol: Protocol | undefined, resolver: Resolver | undefined): string {
  const host = resolver?.nameOf(key.address) ?? formatAddress(key.address);
  const port = (protocol === undefined ? undefined : resolver?.serviceOf(key.port, protocol)) ?? String(key.port);
  return `${key.address.family === 4 ? host : `[${host}]`}:${port}`.slice(0, ADDRESS_PORT_LENGTH);
}

const SCALES: readonly { readonly below: bigint; readonly divisor: bigint; readonly unit: string }[] = [
  { below: 10n ** 9n, divisor: 10n ** 3n, unit: 'K' },
  { below: 10n ** 11n, divisor: 10n ** 6n, unit: 'M' },
  { below: 10n ** 14n, divisor: 10n ** 9n, unit: 'G' },
];
const LARGEST = { divisor: 10n ** 12n, unit: 'T' };

/** A number in nine columns, cut to thousands, millions and so on from 100,000,000; `exact` writes it out and may be wider. */
export function formatLarge(value: bigint, exact: boolean): string {
  if (exact) return ` ${value}`.padStart(9);
  if (value < 10n ** 8n) return `${value}`.padStart(9);
  const { divisor, unit } = SCALES.find(({ below }) => value < below) ?? LARGEST;
  return `${value / divisor}${unit}`.padStart(9);
}
