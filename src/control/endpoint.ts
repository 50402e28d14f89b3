// How an address with a port is written everywhere.
// Thread: any; pure.

/** "192.0.2.1:80" or "[2001:db8::1]:80". */
export function endpoint(address: string, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}
