// The check of a change against the check of everything: from small sets of addresses, names, ports and marks that collide all the time,
// both must say the same, and services that a change does not touch must come out as the objects that they were.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { isChecked, markChecked, recheck, withWorkers } from '../../../src/config/recheck.js';
import type { Config, ConfigInput } from '../../../src/config/schema.js';
import { checkObject, validateConfig } from '../../../src/config/validate.js';

type Service = ConfigInput['services'][number];

const VIPS = ['203.0.113.1', '203.0.113.2', '203.0.113.3', '203.0.113.4'];
/** Mostly addresses of servers, and now and then one that somebody else has. */
const address = fc.oneof(
  { arbitrary: fc.constantFrom('192.0.2.1', '192.0.2.2', '192.0.2.3'), weight: 12 },
  { arbitrary: fc.constantFrom(...VIPS, '192.0.2.101', '192.0.2.50', '2001:db8::1'), weight: 2 },
);
const servers = fc.uniqueArray(address, { maxLength: 2 }).map((all) => all.map((one) => ({ address: one, weight: 1 })));
const name = fc.oneof(
  { arbitrary: fc.nat({ max: 1_000_000 }).map((n) => `n${n}`), weight: 4 },
  fc.constantFrom('a', 'b', 'rule'),
);
const place = fc.record({
  name,
  address: fc.constantFrom(...VIPS),
  port: fc.constantFrom<number | string>(80, 81, 82, '80-90', '85-95'),
  protocol: fc.constantFrom('tcp' as const, 'udp' as const, 'tcp+udp' as const),
  servers,
});

const matched: fc.Arbitrary<Service> = fc.record({
  name,
  match: fc.uniqueArray(
    fc.record({
      protocol: fc.constantFrom('tcp' as const, 'tcp+udp' as const),
      destination: fc.constantFrom(...VIPS, '203.0.113.0/24', '203.0.113.3/32'),
    }),
    { minLength: 1, maxLength: 2, selector: ({ destination }) => destination },
  ),
  mark: fc.integer({ min: 1, max: 4 }),
  mode: fc.constant('nat' as const),
  servers,
});

/** Each is right by itself, nearly always; what makes it wrong is another one. */
const service: fc.Arbitrary<Service> = fc.oneof(
  place.map((one): Service => ({ ...one, mode: 'nat' })),
  fc
    .record({ one: place, timeout: fc.constantFrom(60, 90) })
    .map(({ one, timeout }): Service => ({ ...one, mode: 'nat', persistence: { timeout, group: 'g' } })),
  fc.record({ one: place, dscp: fc.constantFrom(1, 2) }).map(({ one, dscp }): Service => ({ ...one, mode: 'l3dsr', dscp })),
  fc
    .record({ one: place, sorry: address })
    .map(({ one, sorry }): Service => ({ ...one, mode: 'nat', sorryServer: { address: sorry } })),
  place.map((one): Service => ({ ...one, mode: 'fullnat' })),
  matched,
  matched,
  fc.record({ one: place, how: fc.constantFrom('file', 'address', 'six', 'prefix', 'prefix') }).map(({ one, how }): Service => {
    if (how === 'file') return { ...one, mode: 'nat', acl: { file: 'list.txt' } };
    if (how === 'address') return { ...one, mode: 'nat', address: 'nowhere' };
    if (how === 'prefix') return { ...one, mode: 'nat', address: '203.0.113.4/32' };
    return { ...one, mode: 'nat', address: '2001:DB8:0::1', servers: [{ address: '2001:db8::1' }] };
  }),
);
const change = fc.record({
  at: fc.nat({ max: 5 }),
  kind: fc.constantFrom(
    'put' as const,
    'add' as const,
    'remove' as const,
    'servers' as const,
    'twice' as const,
    'workers' as const,
  ),
  service,
});

function baseWith(services: Service[]): ConfigInput {
  return {
    workers: 1,
    interfaces: [{ name: 'wan' }],
    localAddresses: ['192.0.2.101'],
    neighbours: [{ address: '203.0.113.4', mac: '02:00:00:00:00:01', interface: 'wan' }],
    snat: [{ name: 'rule', match: [{ source: '10.0.0.0/24' }], pool: ['192.0.2.50'] }],
    services,
  };
}

/** Services one by one, each only if everything is right with it. */
function valid(candidates: readonly Service[]): Config {
  let config = validateConfig(baseWith([]));
  for (const candidate of candidates) {
    const result = checkObject({ ...config, services: [...config.services, candidate] });
    if ('config' in result) config = result.config;
  }
  return config;
}

function changed(config: Config, { at, kind, service: other }: { at: number; kind: string; service: Service }): ConfigInput {
  const services: Service[] = [...config.services];
  const place = services.length === 0 ? 0 : at % services.length;
  const old = services[place];
  if (kind === 'workers') return { ...config, workers: 2 };
  if (kind === 'twice' && old !== undefined) services.push(old);
  else if (kind === 'remove') services.splice(place, 1);
  else if (kind === 'put') services[place] = other;
  else if (kind === 'servers' && old !== undefined) services[place] = { ...old, servers: other.servers };
  else services.push(other);
  return { ...config, services };
}

test('whatever changes, the verdict and the result are those of a check of everything', () => {
  let [good, bad] = [0, 0];
  fc.assert(
    fc.property(fc.array(service, { maxLength: 12 }), fc.array(change, { minLength: 1, maxLength: 5 }), (candidates, changes) => {
      let from = valid(candidates);
      for (const step of changes) {
        const next = changed(from, step);
        const result = recheck(next, from);
        expect(result).toEqual(checkObject(next));
        if (!('config' in result)) {
          bad += 1;
          continue;
        }
        good += 1;
        const known = new Set<unknown>(from.services);
        next.services.forEach((given, i) => {
          const shared = result.config.services[i] === given;
          if (step.kind !== 'workers') expect(shared).toBe(known.has(given));
        });
        from = result.config;
      }
    }),
    { numRuns: 600 },
  );
  // Both outcomes have to have been met, often, or nothing was compared.
  expect(Math.min(good, bad)).toBeGreaterThan(50);
});

test('a number of workers is checked as in a check of everything', () => {
  fc.assert(
    fc.property(fc.array(service, { maxLength: 6 }), fc.integer({ min: 1, max: 3 }), (candidates, workers) => {
      const config = valid(candidates);
      const whole = checkObject({ ...config, workers });
      if ('config' in whole) expect(withWorkers(config, workers)).toEqual(whole.config);
      else expect(() => withWorkers(config, workers)).toThrow(whole.findings[0]?.reason);
    }),
  );
});

test('what is no configuration is refused as in a check of everything', () => {
  const from = validateConfig(baseWith([]));
  fc.assert(
    fc.property(fc.anything(), (services) => {
      const next = { ...from, services } as unknown as ConfigInput;
      expect(recheck(next, from)).toEqual(checkObject(next));
    }),
  );
});

test('a mark is of one object, and nothing that is made from it has it', () => {
  const config = validateConfig(baseWith([]));
  expect(isChecked(config)).toBe(false);
  expect(isChecked(markChecked(config))).toBe(true);
  expect(isChecked({ ...config })).toBe(false);
  expect(isChecked(structuredClone(config))).toBe(false);
  expect([undefined, null, 'text', 1].map(isChecked)).toEqual([false, false, false, false]);
});
