// What the types of the module promise; checked by `tsc --noEmit`, never run.
import { on } from 'node:events';
import { createLoadBalancer, type LoadBalancer, MillraceError, type Stats } from '../../src/index.js';

export async function accepted(): Promise<void> {
  await using lb: LoadBalancer = await createLoadBalancer({
    interfaces: [{ name: 'wan' }],
    localAddresses: ['192.0.2.101'],
    services: [{ name: 'web', address: '203.0.113.10', port: 80, protocol: 'tcp', servers: [{ address: '192.0.2.11' }] }],
  });
  await createLoadBalancer('millrace.yaml', { signal: AbortSignal.timeout(1000) });
  await createLoadBalancer(new URL('file:///etc/millrace/millrace.yaml'));
  // What the balancer tells of its configuration can be given back to it.
  const { generation }: { readonly generation: number } = await lb.apply(lb.config);
  await lb.setWeight('web', { address: '192.0.2.11' }, generation, { signal: AbortSignal.timeout(1000) });
  const stats: Stats = lb.stats();
  const packets: bigint = stats.totals.rxPackets + stats.totals.sessionsCreated + (stats.totals.drops['no_route'] ?? 0n);
  lb.ref().unref();
  lb.events.on('applied', (event) => event.changes.servicesAdded.includes(String(packets)));
  lb.events.once('error', (error) => error instanceof MillraceError && error.code === 'MILLRACE_E_NOT_RUNNING');
  for await (const [event] of on(lb.events, 'warning')) String(event);
}

export async function refused(lb: LoadBalancer): Promise<void> {
  // @ts-expect-error a service needs a list of servers
  await lb.addService({ name: 'x', address: '192.0.2.1', port: 1, protocol: 'tcp' });
  // @ts-expect-error there is no such scheduler
  await lb.addService({ name: 'x', address: '192.0.2.1', port: 1, protocol: 'tcp', scheduler: 'best', servers: [] });
  // @ts-expect-error unknown keys are mistakes
  await createLoadBalancer({ interfaces: [], services: [], worker: 2 });
  // @ts-expect-error there is no such event
  lb.events.on('exploded', () => undefined);
  // @ts-expect-error counters are bigint
  const packets: number = lb.stats().totals.rxPackets;
  // @ts-expect-error statistics are read only
  lb.stats().totals.forwarded = BigInt(packets);
  // @ts-expect-error a load balancer is made by createLoadBalancer
  new LoadBalancer();
}
