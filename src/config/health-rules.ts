// The rules of health checks: keys that a kind does not have, ports and commands that are missing, patterns that are none.
// Guarantees: pure; never throws on any value.
// Thread: any.
import { type CheckType, COMMON_CHECK_KEYS, KEYS_OF_CHECKS } from './check-types.js';
import type { CheckFacts } from './facts.js';
import type { Finding } from './finding.js';
import { type Rule, wrong } from './rule.js';

/** Kinds that find a port nowhere but in the service. */
function needsPort(type: CheckType): boolean {
  return type !== 'ping' && type !== 'script';
}

function kindOf(check: CheckFacts): CheckType | undefined {
  const type = check.type?.value;
  return type !== undefined && type in KEYS_OF_CHECKS ? (type as CheckType) : undefined;
}

const keysOfKinds: Rule = (facts) =>
  facts.services.flatMap((service) =>
    service.checks.flatMap((check): Finding[] => {
      const type = kindOf(check);
      if (type === undefined) return [];
      const allowed: readonly string[] = [...COMMON_CHECK_KEYS, ...KEYS_OF_CHECKS[type]];
      const known = new Set(Object.values(KEYS_OF_CHECKS).flat());
      return check.keys
        .filter((key) => known.has(key.value) && !allowed.includes(key.value))
        .map((key) => {
          const kinds = Object.entries(KEYS_OF_CHECKS).filter(([, keys]) => keys.includes(key.value));
          const which = kinds.map(([kind]) => kind).join(', ');
          return {
            path: key.path,
            at: 'key' as const,
            reason: `a check of type ${type} has no ${key.value}`,
            remedy: `remove it; it belongs to ${which}`,
          };
        });
    }),
  );

const whatIsMissing: Rule = (facts) =>
  facts.services.flatMap((service) =>
    service.checks.flatMap((check): Finding[] => {
      const type = kindOf(check);
      if (type === undefined || check.type === undefined) return [];
      const has = (key: string): boolean => check.keys.some((given) => given.value === key);
      if (type === 'script' && !has('command')) {
        return [wrong(check.type.path, 'a check of type script needs a program', 'add command: [/path/of/program, argument]')];
      }
      if (!needsPort(type) || has('port') || !check.portless) return [];
      const reason = `a check of type ${type} needs a port, and the server has none of its own`;
      return [wrong(check.type.path, reason, 'add port to the check, or to the server')];
    }),
  );

const absoluteCommands: Rule = (facts) =>
  facts.services.flatMap((service) =>
    [...service.notifyCommands, ...service.checks.flatMap((check) => check.command ?? [])]
      .filter((program) => !program.value.startsWith('/'))
      .map((program) =>
        wrong(program.path, `"${program.value}" is not an absolute path`, 'write the whole path, such as /usr/local/bin/check'),
      ),
  );

const oneWayToRead: Rule = (facts) =>
  facts.services.flatMap((service) =>
    service.checks.flatMap(({ keys }): Finding[] => {
      const matches = keys.find((key) => key.value === 'matches');
      const flags = keys.find((key) => key.value === 'matchFlags');
      if (flags !== undefined && matches === undefined) {
        return [wrong(flags.path, 'matchFlags says how matches is read, and there is none', 'add matches, or remove it')];
      }
      if (matches === undefined || !keys.some((key) => key.value === 'contains')) return [];
      return [wrong(matches.path, 'contains and matches exclude each other', 'keep one of the two')];
    }),
  );

export const HEALTH_RULES: readonly Rule[] = [keysOfKinds, whatIsMissing, absoluteCommands, oneWayToRead];
