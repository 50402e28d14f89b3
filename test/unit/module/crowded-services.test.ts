import { expect, test } from 'vitest';
import { CrowdedServices } from '../../../src/control/crowded-services.js';
import type { ServiceStats } from '../../../src/control/stats.js';

const stats = (service: string, clientAddressNoRoom: bigint): ServiceStats => ({
  service,
  rateLimitedIn: 0n,
  rateLimitedOut: 0n,
  clientAddressNoRoom,
});

test('a service without room for addresses is named when that begins, and once a minute while it goes on', () => {
  const crowded = new CrowdedServices();
  expect(crowded.look([stats('web', 0n), stats('mail', 0n)], 0)).toEqual([]);
  expect(crowded.look([stats('web', 1n), stats('mail', 0n)], 1000)).toEqual([
    "service web: 1 connection had a packet without room for the client's address; segments of its next connections are smaller",
  ]);
  expect(crowded.look([stats('web', 5n), stats('mail', 0n)], 2000)).toEqual([]);
  expect(crowded.look([stats('web', 5n), stats('mail', 2n)], 3000)).toEqual([
    expect.stringContaining('service mail: 2 connections'),
  ]);
  expect(crowded.look([stats('web', 7n), stats('mail', 2n)], 61_000)).toEqual([
    expect.stringContaining('service web: 6 connections'),
  ]);
  expect(crowded.look([stats('web', 7n), stats('mail', 2n)], 200_000)).toEqual([]);
});
