// The API over a unix socket in a folder of its own, with a balancer over a fake addon behind it.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type RunningApi, serveApi } from '../../../../src/api/listen.js';
import { DEFAULT_LIMITS, type Limits } from '../../../../src/api/listener.js';
import type { ApiParts } from '../../../../src/api/parts.js';
import type { ConfigInput } from '../../../../src/config/schema.js';
import type { ApiConfig } from '../../../../src/config/schema-api.js';
import type { LoadBalancer } from '../../../../src/load-balancer.js';
import type { FakeCheckers } from '../../health/support/fake-checkers.js';
import type { FakeBinding } from '../../module/support/fake-binding.js';
import { goodConfig, startTestBalancer } from '../../module/support/hosts.js';
import { type Answer, type Ask, ask } from './client.js';
import { FakeDesired } from './fake-desired.js';

export const testConfig: ConfigInput = {
  ...goodConfig,
  services: [
    ...goodConfig.services,
    {
      name: 'dns',
      address: '2001:db8:1::53',
      port: 53,
      protocol: 'udp',
      mode: 'direct',
      servers: [{ address: '2001:db8:2::11', weight: 5 }],
      healthChecks: [{ type: 'dns' }],
    },
  ],
};

export interface TestApi extends AsyncDisposable {
  readonly api: RunningApi;
  readonly desired: FakeDesired;
  readonly lb: LoadBalancer;
  readonly binding: FakeBinding;
  readonly checkers: FakeCheckers;
  readonly folder: string;
  readonly socketPath: string;
  /** What was told as a mistake of ours. */
  readonly failures: unknown[];
  ask(method: string, path: string, what?: Ask): Promise<Answer>;
}

export interface Setting {
  readonly config?: ConfigInput;
  readonly parts?: Partial<ApiParts>;
  /** Beside the socket. */
  readonly listen?: (folder: string) => Partial<ApiConfig>;
  readonly limits?: Partial<Limits>;
}

export async function startApi({ config = testConfig, parts = {}, listen, limits = {} }: Setting = {}): Promise<TestApi> {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-api-'));
  const socketPath = join(folder, 'api.sock');
  const { lb, binding, checkers } = await startTestBalancer(config);
  const desired = new FakeDesired(lb);
  const failures: unknown[] = [];
  const opened = serveApi(
    { socket: socketPath, ...listen?.(folder) },
    {
      desired,
      balancer: lb,
      now: Date.now,
      started: 1_700_000_000_000,
      readiness: () => ({ ready: true, checks: [{ name: 'workers', ok: true, message: '2 turn' }] }),
      metrics: async () => ({ contentType: 'text/plain; version=0.0.4', body: 'millrace_up 1\n' }),
      lastReload: () => undefined,
      failed: (error) => failures.push(error),
      ...parts,
    },
    { ...DEFAULT_LIMITS, ...limits },
  );
  const api = await opened.catch(async (error: unknown) => {
    await lb.close();
    rmSync(folder, { recursive: true, force: true });
    throw error;
  });
  return {
    api,
    desired,
    lb,
    binding,
    checkers,
    folder,
    socketPath,
    failures,
    ask: (method, path, what) => ask({ socketPath }, method, path, what),
    [Symbol.asyncDispose]: async () => {
      await api.close(0);
      await lb.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
