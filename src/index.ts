// The module 'millrace': everything a program that embeds the load balancer may use.
// Guarantees: importing it works on any operating system and loads nothing native; no top-level await, so that require() works too.
// Thread: any JavaScript thread.
export type { Config, ConfigInput, ServerConfig, ServiceConfig } from './config/schema.js';
export type { ConfigChanges } from './control/diff.js';
export type { ServerInput, ServerRef, ServiceInput } from './control/edit.js';
export { type CounterSet, type ServerStats, type ServiceStats, type Stats, unaccountedPackets } from './control/stats.js';
export { type CreateOptions, createLoadBalancer } from './create-load-balancer.js';
export {
  type ConfigProblem,
  ConfigurationError,
  type ErrorCode,
  InterfaceError,
  MillraceError,
  NativeLoadError,
  UnsupportedHostError,
} from './errors.js';
export type {
  AppliedEvent,
  ApplyOptions,
  ConfigSource,
  LoadBalancer,
  LoadBalancerEvents,
  OperationOptions,
  StartedEvent,
  WarningEvent,
} from './load-balancer.js';
export type { NativeInterfaceStatus as InterfaceStatus } from './native-binding.js';
export { type Versions, versions } from './versions.js';
