// Health checks at scale: what 10,000 TCP checks at an interval cost beside a bare loop of connections at the same rate, how late they
// begin, and what the dataplane sees when all servers fail at once.
// Plain Node on the built package. Guarantees: the listener and the bare loop are processes of their own, so that the CPU time that is
// told is that of the process with the checks alone.
// Thread: main; the checks run in Millrace's own threads.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { createLoadBalancer } from '../../dist/create-load-balancer.js';
import { watchApplies } from './changes.mjs';
import { checkedConfig, cpuSeconds } from './config.mjs';

const PORT = 7777;
/** Seconds between two checks of a target. */
const INTERVAL = 2;

export function startHelper(name, ...argv) {
  return fork(fileURLToPath(new URL(`./${name}.mjs`, import.meta.url)), argv.map(String));
}

async function startListener() {
  const child = startHelper('listener', PORT);
  await once(child, 'message');
  return child;
}

export async function health({ targets, seconds }) {
  const listener = await startListener();
  const bare = await bareLoop(targets, seconds);
  const balancer = await createLoadBalancer(checkedConfig(targets, PORT, INTERVAL));
  const up = () => balancer.healthSummary().servers.filter((server) => server.up).length;
  try {
    // The first round spreads the checks over the interval.
    await delay(INTERVAL * 1500);
    await balancer.health();
    const [cpu, begin] = [cpuSeconds(), performance.now()];
    await delay(seconds * 1000);
    const used = cpuSeconds() - cpu;
    const spent = (performance.now() - begin) / 1000;
    const { lateness } = await balancer.health();
    const checks = lateness.reduce((sum, worker) => sum + worker.checks, 0);
    const healthy = up();
    const watch = watchApplies();
    const failed = performance.now();
    listener.kill('SIGKILL');
    while (up() > 0) await delay(20);
    const judged = performance.now() - failed;
    const shown = () => balancer.presentedServices().reduce((sum, service) => sum + service.servers.length, 0);
    let passes = -1;
    while (shown() > 0 || passes !== watch.applies.length) {
      passes = watch.applies.length;
      await delay(50);
    }
    watch.stop();
    const out = watch.applies.at(-1).end - failed;
    return {
      targets,
      interval: INTERVAL,
      seconds: spent,
      checks,
      healthy,
      cpuShare: used / spent,
      perSecond: checks / spent,
      lateness: {
        mean: lateness.reduce((sum, worker) => sum + worker.mean * worker.checks, 0) / checks,
        worst: Math.max(...lateness.map((worker) => worker.worst)),
        threads: lateness.length,
      },
      bare,
      failure: {
        passes: watch.applies.length,
        services: watch.applies.reduce((sum, apply) => sum + apply.services, 0),
        judged,
        out,
        slowestPass: Math.max(...watch.applies.map((apply) => apply.milliseconds)),
      },
    };
  } finally {
    listener.kill('SIGKILL');
    await balancer.close();
  }
}

/** The same connections to the same addresses, without anything that a check is besides. */
async function bareLoop(targets, seconds) {
  const child = startHelper('connects', PORT, targets, INTERVAL, Math.max(4, seconds / 2));
  const [result] = await once(child, 'message');
  return result;
}
