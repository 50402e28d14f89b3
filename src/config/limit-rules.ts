// The rules of limits, access lists and a service's timeouts: what contradicts itself, and what would have no effect.
// Guarantees: pure; never throws on any value.
// Thread: any.
import { networkOf } from './address.js';
import { type Finding, formatPath } from './finding.js';
import { type Rule, wrong } from './rule.js';

const thresholds: Rule = (facts) =>
  facts.services.flatMap((service) =>
    service.servers.flatMap((server): Finding[] => {
      const { upperThreshold: upper, lowerThreshold: lower } = server;
      if (lower === undefined) return [];
      if (!server.upperThresholdGiven) {
        const reason = 'lowerThreshold says when a server opens again, but without upperThreshold it never closes';
        return [wrong(lower.path, reason, 'add upperThreshold, or remove it')];
      }
      if (upper === undefined || lower.value <= upper.value) return [];
      const reason = `lowerThreshold ${lower.value} is above upperThreshold ${upper.value}`;
      return [wrong(lower.path, reason, `write ${upper.value} or less`)];
    }),
  );

/** Prefixes are networks, and each is either allowed or denied, once. */
const accessPrefixes: Rule = (facts) =>
  facts.services.flatMap((service) => {
    const seen = new Map<string, { readonly verdict: string; readonly path: string }>();
    return service.access.flatMap(({ verdict, prefix }): Finding[] => {
      const network = networkOf(prefix.value);
      const text = `${network.text}/${prefix.value.length}`;
      if (network.value !== prefix.value.address.value) {
        const reason = `${prefix.value.address.text}/${prefix.value.length} is not a network: bits after the first ${prefix.value.length} are set`;
        return [wrong(prefix.path, reason, `write ${text}`)];
      }
      const first = seen.get(text);
      if (first !== undefined) {
        const also = first.verdict === verdict ? 'listed twice' : 'both allowed and denied';
        return [wrong(prefix.path, `prefix ${text} is ${also} (first at ${first.path})`, 'remove one of the two')];
      }
      seen.set(text, { verdict, path: formatPath(prefix.path) });
      return [];
    });
  });

const rateLimits: Rule = (facts) =>
  facts.services
    .flatMap((service) => [service.emptyRateLimit, ...service.servers.map((server) => server.emptyRateLimit)])
    .filter((path) => path !== undefined)
    .map((path) => wrong(path, 'rateLimit sets no limit', 'give packetsPerSecond, bitsPerSecond or both, or remove it'));

const ownTimeouts: Rule = (facts) =>
  facts.services.flatMap((service) =>
    service.timeouts
      .filter(
        (kind) =>
          service.protocol !== undefined &&
          ['tcp', 'udp', 'sctp'].includes(kind.value) &&
          !service.protocol.value.split('+').includes(kind.value),
      )
      .map((kind) => ({
        ...wrong(
          kind.path,
          `the service has protocol ${service.protocol?.value}, so it has no ${kind.value} timeouts`,
          'remove it',
        ),
        at: 'key' as const,
      })),
  );

/** In the order in which they are reported. */
export const LIMIT_RULES: readonly Rule[] = [thresholds, accessPrefixes, rateLimits, ownTimeouts];
