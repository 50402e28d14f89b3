// A keepalived.conf with NAT, DR and TUN services is imported and serves traffic; served directly, HUP reads it again and its checks count.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ForwardMode } from '../../src/config/forward-mode.js';
import { interfaces, localAddresses, plans } from '../../src/lab/addresses.js';
import type { Balancer } from '../../src/lab/balancer.js';
import { answeredByAll } from '../../src/lab/demo-report.js';
import { millraceProgram } from '../../src/lab/programs.js';
import { serviceUrl } from '../../src/lab/traffic.js';
import { useLab } from './support/lab-fixture.js';

const lab = useLab({ secondPath: true });

const { vip, routedVip, servers } = plans.ipv4;
/** A deadline for what follows from checks that come five times a second. */
const patience = { timeout: 30_000, interval: 100 };

interface Written {
  /** Addresses behind the NAT service. */
  readonly natServers?: readonly string[];
  /** What the NAT service's check wants for an answer; the servers' is 200. */
  readonly status?: number;
}

function keepalivedConf({ natServers = [servers.rs1, servers.rs2], status = 200 }: Written = {}): string {
  const check = (wanted: number) =>
    `HTTP_GET {\n      url { path /\n        status_code ${wanted}\n      }\n      connect_timeout 2\n      delay_before_retry 0.2\n      retry 1\n    }`;
  const real = (address: string, wanted: number) => `  real_server ${address} 80 {\n    weight 1\n    ${check(wanted)}\n  }`;
  const service = (head: string, method: string, list: readonly string[], wanted: number, more = '') =>
    `virtual_server ${head} {\n  delay_loop 0.2\n  lvs_sched rr\n  lvs_method ${method}\n  protocol TCP\n${more}${list.map((address) => real(address, wanted)).join('\n')}\n}`;
  const both = [servers.rs1, servers.rs2];
  return [
    `global_defs {\n  router_id lab\n}`,
    service(
      `${vip} 8080`,
      'NAT',
      natServers,
      status,
      natServers.includes(servers.rs2) ? '' : `  sorry_server ${servers.rs2} 80\n`,
    ),
    service(`${vip} 80`, 'DR', both, 200),
    service(`${routedVip} 80`, 'TUN', both, 200),
    '',
  ].join('\n');
}

/** Interfaces and local addresses, which keepalived.conf does not say. */
function writeBase(): string {
  const links = [interfaces.wan, interfaces.lan].map((name) => `{ name: ${name} }`).join(', ');
  const locals = localAddresses('ipv4', lab().workers).join(', ');
  const file = join(lab().directory, 'base.yaml');
  writeFileSync(
    file,
    `workers: ${lab().workers}\ninterfaces: [${links}]\nsessions: { maxPerWorker: 65536 }\nlocalAddresses: [${locals}]\n`,
  );
  return file;
}

function writeConf(options: Written = {}): string {
  const file = join(lab().directory, 'keepalived.conf');
  writeFileSync(file, keepalivedConf(options));
  return file;
}

async function answeredBy(address: string, port: number, requests = 10): Promise<readonly string[]> {
  const { reasons, byServer } = await lab().traffic.get(serviceUrl(address, '/', port), requests);
  expect(reasons).toEqual([]);
  return Object.keys(byServer).filter((name) => (byServer[name] ?? 0) > 0);
}

describe('imported', () => {
  let balancer: Balancer;
  beforeAll(async () => {
    const yaml = join(lab().directory, 'imported.yaml');
    const words = ['import', writeConf(), '--base', writeBase(), '--out', yaml, '--strict'];
    await lab().topology.runChecked('lb', [...millraceProgram(), ...words]);
    expect(readFileSync(yaml, 'utf8')).toContain('mode: ipip');
    balancer = await lab().startBalancer(yaml);
  });
  afterAll(async () => {
    await balancer?.[Symbol.asyncDispose]();
  });

  const services: readonly (readonly [string, ForwardMode, string, number])[] = [
    ['NAT', 'nat', vip, 8080],
    ['DR', 'direct', vip, 80],
    ['TUN', 'ipip', routedVip, 80],
  ];
  test.each(services)('%s serves traffic from both real servers', async (_method, mode, address, port) => {
    await lab().useMode(mode);
    const result = await lab().traffic.get(serviceUrl(address, '/', port), 20);
    expect(result.reasons).toEqual([]);
    expect(answeredByAll(result.byServer)).toBe(true);
  });
});

describe('served directly', () => {
  let balancer: Balancer;
  beforeAll(async () => {
    await lab().useMode('nat');
    const conf = writeConf();
    balancer = await lab().startBalancer(conf, { words: ['--run-as', conf, '--base', writeBase()] });
  });
  afterAll(async () => {
    await balancer?.[Symbol.asyncDispose]();
  });

  test('HUP reads keepalived.conf again', async () => {
    expect(await answeredBy(vip, 8080)).toHaveLength(2);
    writeConf({ natServers: [servers.rs1] });
    await balancer.reload();
    expect(await answeredBy(vip, 8080)).toEqual(['rs1']);
  });

  test('a check that fails brings the sorry server, and back', async () => {
    writeConf({ natServers: [servers.rs1], status: 404 });
    await balancer.reload();
    await expect.poll(() => answeredBy(vip, 8080, 4), patience).toEqual(['rs2']);
    writeConf({ natServers: [servers.rs1] });
    await balancer.reload();
    await expect.poll(() => answeredBy(vip, 8080, 4), patience).toEqual(['rs1']);
  });

  test('a keepalived.conf that cannot be read leaves the old one running', async () => {
    writeFileSync(join(lab().directory, 'base.yaml'), 'interfaces: {}\n');
    await expect(balancer.reload()).rejects.toThrowError(/reload was refused/);
    expect(await answeredBy(vip, 8080)).toEqual(['rs1']);
  });
});
