// Says which services have packets without room for their clients' addresses, when that begins and once a minute while it goes on.
// Guarantees: one warning per service and minute at most, however many connections are concerned.
// Thread: main.
import type { ServiceStats } from './stats.js';

/** Milliseconds between two warnings about one service. */
const QUIET = 60_000;

interface Known {
  readonly count: bigint;
  readonly warned: number;
}

export class CrowdedServices {
  readonly #known = new Map<string, Known>();

  /** Sentences about services whose number has risen since the last one. */
  look(services: readonly ServiceStats[], now: number): string[] {
    return services.flatMap(({ service, clientAddressNoRoom: count }) => {
      const known = this.#known.get(service) ?? { count: 0n, warned: Number.NEGATIVE_INFINITY };
      if (count <= known.count || now - known.warned < QUIET) return [];
      this.#known.set(service, { count, warned: now });
      const more = count - known.count;
      return [
        `service ${service}: ${more} connection${more === 1n ? '' : 's'} had a packet without room for the client's address; ` +
          'segments of its next connections are smaller',
      ];
    });
  }
}
