// Loading, starting, reloading and changing a large configuration, through the same classes as `millrace run`.
// Plain Node on the built package. Guarantees: every duration has the baseline that it is compared with from the same process.
// Thread: main.
import { tracingChannel } from 'node:diagnostics_channel';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { parseConfig } from '../../dist/config/load.js';
import { createLoadBalancer } from '../../dist/create-load-balancer.js';
import { Reconciler } from '../../dist/state/desired-state.js';
import { overlayStore } from '../../dist/state/effective.js';
import { fastest, largeConfig, quantile, timed } from './config.mjs';

/** How long what is handed to the dataplane takes until all workers have it: milliseconds, services, and when it ended. */
export function watchApplies() {
  const applies = [];
  let begin = 0;
  const channel = tracingChannel('millrace:config:apply');
  const subscriber = {
    start: () => {
      begin = performance.now();
    },
    asyncEnd: ({ services }) => {
      const end = performance.now();
      applies.push({ services, milliseconds: end - begin, end });
    },
  };
  channel.subscribe(subscriber);
  return { applies, stop: () => channel.unsubscribe(subscriber) };
}

export function loading({ services, servers }) {
  const config = largeConfig(services, servers);
  const json = JSON.stringify(config);
  const yaml = stringify(config);
  const baseline = fastest(3, () => JSON.parse(json));
  const load = (text, file) => {
    const result = parseConfig(text, file);
    if (!('config' in result))
      throw new Error(`the configuration of the benchmark is refused: ${JSON.stringify(result.problems[0])}`);
  };
  return {
    json: { bytes: json.length, milliseconds: fastest(2, () => load(json, 'millrace.json')), baseline },
    yaml: { bytes: yaml.length, milliseconds: fastest(1, () => load(yaml, 'millrace.yaml')), baseline },
  };
}

/** Runs `use` with a reconciler over a balancer with the large configuration. */
export async function withLarge({ services, servers, directory }, use) {
  const config = largeConfig(services, servers);
  const configFile = join(directory, 'millrace.json');
  writeFileSync(configFile, JSON.stringify(config));
  const { value: state, milliseconds } = await timed(() =>
    Reconciler.start({
      configFile,
      store: overlayStore(join(directory, 'state.json')),
      create: (checked) => createLoadBalancer(checked),
    }),
  );
  try {
    return await use({ state, config, configFile, started: milliseconds });
  } finally {
    await state.balancer.close();
  }
}

export async function changes({ state, config, configFile, started, rounds }) {
  const watch = watchApplies();
  const middle = (values) => quantile(values, 0.5);
  const name = (i) => `service-${(i * 7919) % config.services.length}`;
  const serverOf = (i) => config.services[(i * 7919) % config.services.length].servers[i % 10].address;
  const run = async (operations) => {
    const begin = performance.now();
    await state.change(operations);
    const { end, milliseconds } = watch.applies.at(-1);
    return { reached: end - begin, dataplane: milliseconds, answered: performance.now() - begin };
  };
  const series = async (operation) => {
    const all = [];
    for (let i = 0; i < rounds; i++) all.push(await run([operation(i)]));
    const reached = all.map((one) => one.reached);
    return {
      first: reached[0],
      least: Math.min(...reached),
      median: middle(reached),
      p99: quantile(reached, 0.99),
      dataplane: middle(all.map((one) => one.dataplane)),
      answered: middle(all.map((one) => one.answered)),
    };
  };
  // An address that the service does not have, and that has its neighbour: nobody waits for ARP.
  const server = (i) => ({ address: `10.0.0.${1 + ((((i * 7919) % config.services.length) * 10 + 50) % 100)}`, weight: 1 });
  const result = {
    weight: await series((i) => ({ op: 'set-weight', service: name(i), server: serverOf(i), weight: 10 + i })),
    putServer: await series((i) => ({ op: 'put-server', service: name(i), server: server(i) })),
    drain: await series((i) => ({ op: 'drain', service: name(i) })),
  };
  // A section that all share: everything is checked, compared and handed over.
  await run([{ op: 'set-section', section: 'echoReplies', value: false }]);
  const whole = watch.applies.at(-1);
  const reloaded = structuredClone(config);
  reloaded.services[5].servers[3] = { address: '10.0.0.99', weight: 5 };
  writeFileSync(configFile, JSON.stringify(reloaded));
  const before = watch.applies.length;
  const reload = await timed(() => state.reload());
  const handedOver = watch.applies.slice(before).reduce((sum, apply) => sum + apply.services, 0);
  watch.stop();
  return {
    started,
    ...result,
    wholeTable: { milliseconds: whole.milliseconds, services: whole.services },
    reload: { milliseconds: reload.milliseconds, services: handedOver, changed: reload.value.changes.servicesChanged.length },
  };
}
