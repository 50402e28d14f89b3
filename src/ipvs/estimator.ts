// Turns totals into the averages of `ipvsadm --rate`, which decay by a quarter at every tick of two seconds.
// Guarantees: pure arithmetic of 64 bits, as the kernel's; totals and rates change at ticks only, which is why --stats lags behind.
// Thread: the table's; the caller has the clock.
// Source: --rate in test/ipvsadm/recordings/03-listings-large-counters.txt, one line every two seconds.
import { type Counters, NO_COUNTS } from './model.js';

/** Seconds between two ticks. */
export const TICK_S = 2;

export type Totals = Pick<Counters, 'conns' | 'inPackets' | 'outPackets' | 'inBytes' | 'outBytes'>;

/** Growth in a tick up to which doubles are exact with 10 binary places, and averages up to which they are. */
const NARROW_GROWTH = 2n ** 42n;
const NARROW_AVERAGE = 2n ** 52n;

/** One average with `fraction` binary places. Doubles where they are exact: bigints would take ten times as long. */
class Average {
  readonly #fraction: number;
  #last = 0n;
  #scaled = 0;
  /** In place of #scaled where that is not exact. */
  #wide: bigint | undefined;

  constructor(fraction: number) {
    this.#fraction = fraction;
  }

  /** Takes the total at a tick. */
  tick(total: bigint): void {
    const growth = total - this.#last;
    this.#last = total;
    if (this.#wide !== undefined || growth < 0n || growth >= NARROW_GROWTH) this.#tickWide(growth);
    else this.#scaled += Math.floor((Number(growth) * 2 ** (this.#fraction - 1) - this.#scaled) / 4);
  }

  #tickWide(growth: bigint): void {
    const scaled = this.#wide ?? BigInt(this.#scaled);
    const perSecond = BigInt.asUintN(64, growth << BigInt(this.#fraction - 1));
    const step = BigInt.asIntN(64, BigInt.asIntN(64, perSecond) - BigInt.asIntN(64, scaled)) >> 2n;
    const next = BigInt.asUintN(64, scaled + step);
    this.#wide = next < NARROW_AVERAGE ? undefined : next;
    this.#scaled = this.#wide === undefined ? Number(next) : 0;
  }

  /** Per second, rounded. */
  value(): bigint {
    const half = 2 ** (this.#fraction - 1) - 1;
    if (this.#wide === undefined) return BigInt(Math.floor((this.#scaled + half) / 2 ** this.#fraction));
    return BigInt.asUintN(64, this.#wide + BigInt(half)) >> BigInt(this.#fraction);
  }
}

/** The totals and rates of one service or server. */
export class RateEstimator {
  readonly #conns = new Average(10);
  readonly #inPackets = new Average(10);
  readonly #outPackets = new Average(10);
  readonly #inBytes = new Average(5);
  readonly #outBytes = new Average(5);
  #totals: Totals = NO_COUNTS;

  /** To be called every TICK_S seconds with the totals since the beginning. */
  tick(totals: Totals): void {
    this.#conns.tick(totals.conns);
    this.#inPackets.tick(totals.inPackets);
    this.#outPackets.tick(totals.outPackets);
    this.#inBytes.tick(totals.inBytes);
    this.#outBytes.tick(totals.outBytes);
    this.#totals = totals;
  }

  /** What was counted at the last tick. */
  counters(): Counters {
    const { conns, inPackets, outPackets, inBytes, outBytes } = this.#totals;
    return {
      conns,
      inPackets,
      outPackets,
      inBytes,
      outBytes,
      connsPerSecond: this.#conns.value(),
      inPacketsPerSecond: this.#inPackets.value(),
      outPacketsPerSecond: this.#outPackets.value(),
      inBytesPerSecond: this.#inBytes.value(),
      outBytesPerSecond: this.#outBytes.value(),
    };
  }
}
