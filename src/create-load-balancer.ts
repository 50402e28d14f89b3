// From a configuration to a running load balancer: read it, check it, check the host, start, apply.
// Guarantees: nothing native is loaded before the configuration is right and the operating system fits; on any failure nothing is left running.
// Thread: the JavaScript thread that calls it.
import { fileURLToPath } from 'node:url';
import { loadConfig } from './config/load.js';
import { isChecked, withWorkers } from './config/recheck.js';
import type { Config } from './config/schema.js';
import { type NativeConfig, toNative } from './config/to-native.js';
import { validateConfig } from './config/validate.js';
import { evaluateHost } from './doctor/evaluate-host.js';
import type { Finding, HostFacts } from './doctor/facts.js';
import { gatherFacts } from './doctor/gather.js';
import { hostDescription, needsOf } from './doctor/needs.js';
import { defaultNeeds, describeProblems } from './doctor/report.js';
import { UnsupportedHostError } from './errors.js';
import { HealthMonitor } from './health/monitor.js';
import { CheckerPool, type Checkers, type PoolParts } from './health/pool.js';
import { type ConfigSource, LoadBalancer } from './load-balancer.js';
import { loadNative } from './native.js';
import type { NativeBinding } from './native-binding.js';

export interface CreateOptions {
  /** Cancels the creation; fired later, it closes the load balancer. */
  readonly signal?: AbortSignal;
}

/** Where addon, facts and time come from. */
export interface CreateEnvironment {
  readonly platform: string;
  readonly load: () => NativeBinding;
  readonly gather: (load: () => NativeBinding) => HostFacts;
  /** Runs health checks. */
  readonly checkers: (parts: PoolParts) => Checkers;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

const thisHost: CreateEnvironment = {
  platform: process.platform,
  load: loadNative,
  gather: (load) => gatherFacts({ load }),
  checkers: (parts) => new CheckerPool(parts),
  now: Date.now,
};

/**
 * Starts a load balancer. `config` is an object with the same keys as the configuration file, or the path or file: URL of such a file.
 *
 * @throws ConfigurationError when the configuration is wrong; UnsupportedHostError with the doctor's text when this host cannot run it;
 * InterfaceError when an interface is missing, taken or unsuitable; NativeLoadError when the addon does not load.
 *
 * @example
 * ```ts
 * import { createLoadBalancer } from 'millrace';
 *
 * await using lb = await createLoadBalancer('millrace.yaml');
 * await lb.addServer('web', { address: '192.0.2.13' });
 * console.log(lb.stats().totals.forwarded);
 * ```
 */
export function createLoadBalancer(config: ConfigSource, options: CreateOptions = {}): Promise<LoadBalancer> {
  return createIn(thisHost, config, options);
}

/** createLoadBalancer in a given environment. */
export async function createIn(
  environment: CreateEnvironment,
  source: ConfigSource,
  options: CreateOptions = {},
): Promise<LoadBalancer> {
  const { signal } = options;
  signal?.throwIfAborted();
  const config = await resolveConfig(source, signal);
  // On another system there is no addon to ask, and its absence is not the news.
  if (environment.platform !== 'linux') refuse(evaluateHost(environment.gather(environment.load), defaultNeeds));
  const binding = environment.load();
  const facts = environment.gather(() => binding);
  const host = hostDescription(facts);
  const findings = evaluateHost(facts, needsOf(toNative(config, host).options, facts));
  refuse(findings);
  signal?.throwIfAborted();
  return LoadBalancer.start(
    {
      binding,
      config,
      resolveConfig,
      plan: (next, running, present) => planFor(next, running, (checked) => toNative(checked, host, present)),
      monitor: (parts) =>
        new HealthMonitor({
          ...parts,
          checkers: (report) =>
            environment.checkers({
              report,
              failed: (error) => parts.complain(`a thread of health checks ended and is replaced: ${String(error)}`),
            }),
        }),
      warnings: findings.filter((finding) => finding.status === 'warning'),
      now: environment.now,
    },
    options,
  );
}

/** With `workers: auto` a running dataplane keeps its number: more local addresses, say, must not ask for a restart. */
function planFor(config: Config, running: NativeConfig | undefined, plan: (config: Config) => NativeConfig): NativeConfig {
  if (running === undefined || config.workers !== 'auto') return plan(config);
  return plan(withWorkers(config, running.options.workers));
}

async function resolveConfig(source: ConfigSource, signal: AbortSignal | undefined): Promise<Config> {
  if (isChecked(source)) return source;
  const options = signal === undefined ? {} : { signal };
  if (source instanceof URL) return loadConfig(fileURLToPath(source), options);
  if (typeof source === 'string') return loadConfig(source, options);
  return validateConfig(source);
}

function refuse(findings: readonly Finding[]): void {
  if (!findings.some((finding) => finding.status === 'problem')) return;
  throw new UnsupportedHostError('MILLRACE_E_UNSUPPORTED_HOST', describeProblems({ canStart: false, findings }), {
    remedy: 'See what is needed under each line; `millrace doctor` shows the whole host.',
  });
}
