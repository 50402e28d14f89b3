// Turns totals into the averages of `ipvsadm --rate`, which decay by a quarter at every tick of two seconds.
// Guarantees: pure arithmetic of 64 bits, as the kernel's; totals and rates change at ticks only, which is why --stats lags behind.
// Thread: the table's; the caller has the clock.
// Source: --rate in test/ipvsadm/recordings/03-listings-large-counters.txt, one line every two seconds.
import { type Counters, NO_COUNTS } from './model.js';

/** Seconds between two ticks. */
export const TICK_S = 2;

export type Totals = Pick<Counters, 'conns' | 'inPackets' | 'outPackets' | 'inBytes' | 'outBytes'>;

/** One average with `fraction` binary places. */
class Average {
  readonly #fraction: bigint;
  #last = 0n;
  #scaled = 0n;

  constructor(fraction: bigint) {
    this.#fraction = fraction;
  }

  /** Takes the total at a tick. */
  tick(total: bigint): void {
    const perSecond = BigInt.asUintN(64, (total - this.#last) << (this.#fraction - 1n));
    this.#last = total;
    const step = BigInt.asIntN(64, BigInt.asIntN(64, perSecond) - BigInt.asIntN(64, this.#scaled)) >> 2n;
    this.#scaled = BigInt.asUintN(64, this.#scaled + step);
  }

  /** Per second, rounded. */
  value(): bigint {
    const half = (1n << (this.#fraction - 1n)) - 1n;
    return BigInt.asUintN(64, this.#scaled + half) >> this.#fraction;
  }
}

/** The totals and rates of one service or server. */
export class RateEstimator {
  readonly #conns = new Average(10n);
  readonly #inPackets = new Average(10n);
  readonly #outPackets = new Average(10n);
  readonly #inBytes = new Average(5n);
  readonly #outBytes = new Average(5n);
  #counters: Counters = NO_COUNTS;

  /** To be called every TICK_S seconds with the totals since the beginning. */
  tick(totals: Totals): void {
    this.#conns.tick(totals.conns);
    this.#inPackets.tick(totals.inPackets);
    this.#outPackets.tick(totals.outPackets);
    this.#inBytes.tick(totals.inBytes);
    this.#outBytes.tick(totals.outBytes);
    this.#counters = {
      conns: totals.conns,
      inPackets: totals.inPackets,
      outPackets: totals.outPackets,
      inBytes: totals.inBytes,
      outBytes: totals.outBytes,
      connsPerSecond: this.#conns.value(),
      inPacketsPerSecond: this.#inPackets.value(),
      outPacketsPerSecond: this.#outPackets.value(),
      inBytesPerSecond: this.#inBytes.value(),
      outBytesPerSecond: this.#outBytes.value(),
    };
  }

  /** What was counted at the last tick. */
  counters(): Counters {
    return this.#counters;
  }
}
