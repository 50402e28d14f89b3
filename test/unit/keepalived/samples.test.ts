// The samples of Debian's package keepalived, where it is installed: everything in them is understood but the word that
// hands the connections of IPVS over, which is reported.
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { loadKeepalived } from '../../../src/keepalived/load.js';

const folder = '/usr/share/doc/keepalived/samples';
const samples = existsSync(folder) ? readdirSync(folder).filter((name) => name.startsWith('keepalived.conf.')) : [];

describe.skipIf(samples.length === 0)('samples', () => {
  test.each(samples)('%s', (name) => {
    const file = loadKeepalived(join(folder, name), { configId: 'high' });
    const handsOver = name.endsWith('lvs_syncd') ? ['lvs_sync_daemon_interface has no counterpart'] : [];
    expect(file.reports.map((report) => report.reason)).toEqual(handsOver);
    expect(file.staysInUse || file.config.virtualServers.length > 0).toBe(true);
    for (const server of file.config.virtualServers) expect(server.realServers.length).toBeGreaterThan(0);
  });
});
