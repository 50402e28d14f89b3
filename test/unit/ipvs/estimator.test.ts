// The estimator's doubles against the kernel's arithmetic in 64 bits.
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { RateEstimator } from '../../../src/ipvs/estimator.js';

/** As the kernel computes it, all in 64 bits. */
function kernelRates(totals: readonly bigint[], fraction: bigint): bigint {
  let [last, scaled] = [0n, 0n];
  for (const total of totals) {
    const perSecond = BigInt.asUintN(64, (total - last) << (fraction - 1n));
    last = total;
    scaled = BigInt.asUintN(64, scaled + (BigInt.asIntN(64, BigInt.asIntN(64, perSecond) - BigInt.asIntN(64, scaled)) >> 2n));
  }
  return BigInt.asUintN(64, scaled + ((1n << (fraction - 1n)) - 1n)) >> fraction;
}

it('rates are those of the kernel for any totals', () => {
  const total = fc.oneof(
    fc.bigInt({ min: 0n, max: 1000n }),
    fc.bigInt({ min: 2n ** 41n, max: 2n ** 44n }),
    fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  );
  fc.assert(
    fc.property(fc.array(total, { minLength: 1, maxLength: 40 }), (totals) => {
      const estimator = new RateEstimator();
      for (const each of totals)
        estimator.tick({ conns: each, inPackets: each, outPackets: each, inBytes: each, outBytes: each });
      const { connsPerSecond, inBytesPerSecond } = estimator.counters();
      expect([connsPerSecond, inBytesPerSecond]).toEqual([kernelRates(totals, 10n), kernelRates(totals, 5n)]);
    }),
    { numRuns: 500 },
  );
});
