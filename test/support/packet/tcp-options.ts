// TCP options (RFC 9293 3.1, RFC 7323, RFC 2018) as bytes, in the order in which the caller lists them. Runs in tests only.

export type TcpOption = Uint8Array;

const u16 = (v: number): number[] => [(v >>> 8) & 0xff, v & 0xff];
const u32 = (v: number): number[] => [...u16(v >>> 16), ...u16(v)];

export const endOfOptions = (): TcpOption => Uint8Array.of(0);
export const nop = (): TcpOption => Uint8Array.of(1);
/** Maximum segment size in bytes. */
export const mss = (bytes: number): TcpOption => Uint8Array.of(2, 4, ...u16(bytes));
export const windowScale = (shift: number): TcpOption => Uint8Array.of(3, 3, shift);
export const sackPermitted = (): TcpOption => Uint8Array.of(4, 2);
/** Blocks of [left edge, right edge). */
export const sack = (...blocks: readonly (readonly [number, number])[]): TcpOption =>
  Uint8Array.of(5, 2 + 8 * blocks.length, ...blocks.flatMap(([left, right]) => [...u32(left), ...u32(right)]));
export const timestamps = (value: number, echo: number): TcpOption => Uint8Array.of(8, 10, ...u32(value), ...u32(echo));
/** Any kind, any claimed length: `length` may lie about `data`. */
export const rawOption = (kind: number, length: number, data: readonly number[] = []): TcpOption =>
  Uint8Array.of(kind, length, ...data);

/** What a Linux client puts on its SYN. */
export const linuxSynOptions = (segment = 1460): TcpOption[] => [
  mss(segment),
  sackPermitted(),
  timestamps(1000, 0),
  nop(),
  windowScale(7),
];
