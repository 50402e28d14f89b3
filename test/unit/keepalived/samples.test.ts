// The samples of Debian's package keepalived: everything in them is understood but the word that hands the connections of IPVS over,
// which is reported; all of them become configurations.
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { checkConfig } from '../../../src/config/validate.js';
import { loadKeepalived } from '../../../src/keepalived/load.js';
import { translate } from '../../../src/keepalived/translate.js';

const folder = '/usr/share/doc/keepalived/samples';
const samples = existsSync(folder) ? readdirSync(folder).filter((name) => name.startsWith('keepalived.conf.')) : [];

const missing = samples.length === 0;

describe.skipIf(missing)(missing ? `samples (skipped: there is no ${folder}; install the package keepalived)` : 'samples', () => {
  test.each(samples)('%s', (name) => {
    const file = loadKeepalived(join(folder, name), { configId: 'high' });
    const handsOver = name.endsWith('lvs_syncd') ? ['lvs_sync_daemon_interface has no counterpart'] : [];
    const moves = /^\S+ leaves keepalived: the load balancer answers for it/;
    expect(file.reports.map((report) => report.reason).filter((reason) => !moves.test(reason))).toEqual(handsOver);
    expect(file.staysInUse || file.config.virtualServers.length > 0).toBe(true);
    for (const server of file.config.virtualServers) expect(server.realServers.length).toBeGreaterThan(0);
  });

  test.each(samples)('%s becomes a configuration that passes, with all of its virtual servers or a report of each', (name) => {
    const marks = [1, 2, 3].map((mark) => ({
      name: `mark-${mark}`,
      mark,
      match: [{ protocol: 'tcp' as const, destination: `198.51.100.${mark}` }],
      servers: [],
    }));
    const base = { interfaces: [{ name: 'eth0' }], localAddresses: ['198.18.0.1', '2001:db8:18::1'], services: marks };
    const file = loadKeepalived(join(folder, name), { configId: 'high' });
    const { input, config, problems, reports, origins } = translate(file, { base });
    expect(problems).toEqual([]);
    expect(config).toBeDefined();
    expect(checkConfig(input).findings).toEqual([]);
    const told = new Set([...origins.values(), ...reports.filter(({ kind }) => kind !== 'note')].map(({ line }) => line));
    for (const server of file.config.virtualServers) expect(told).toContain(server.at.line);
  });
});
