// Every word of the fixtures has its translation: the configuration and the reports, as they were looked at and written down.
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { stringify } from 'yaml';
import { parseConfig } from '../../../src/config/load.js';
import { type Imported, importKeepalived, writeImported } from '../../../src/keepalived/import.js';
import { translate } from '../../../src/keepalived/translate.js';
import { load, server, short } from './support/memory.js';

const fixture = (name: string): string => fileURLToPath(new URL(`fixtures/${name}`, import.meta.url));
const base = fixture('base.yaml');

function imported(name: string): Imported {
  return importKeepalived(fixture(name), { base, configId: 'main' });
}

/** Texts without the folder of this test. */
const placeless = (text: string): string => text.replaceAll(fixture(''), '');

function reportsOf({ reports }: Imported): string {
  const lines = reports.map(
    ({ file, line, column, kind, reason, remedy }) => `${file}:${line}:${column}: ${kind}: ${reason} = ${remedy}`,
  );
  return placeless(`${lines.join('\n')}\n`);
}

/** Everything but what tells members of a group from each other. */
function bodyOf(result: Imported, name: string) {
  const {
    name: _name,
    address: _address,
    port: _port,
    ...body
  } = result.input.services.find((one) => one.name === name) ?? { name };
  return body;
}

test('every keyword of keepalived', async () => {
  const result = imported('every-keyword.conf');
  // Two members of the group of 37 stand for all: one with a port, one without.
  const shown = ['web-udp-192.0.2.1-80', 'web-udp-192.0.2.64-any'];
  const services = result.input.services.filter(({ name }) => shown.includes(name) || !name.startsWith('web-'));
  const text = stringify({ ...result.input, services }, { aliasDuplicateObjects: false, lineWidth: 120 });
  await expect(placeless(text)).toMatchFileSnapshot('fixtures/every-keyword.yaml');
  await expect(reportsOf(result)).toMatchFileSnapshot('fixtures/every-keyword.reports');

  const members = result.input.services.map(({ name }) => name).filter((name) => name.startsWith('web-'));
  expect(members).toHaveLength(1 + 11 + 17 + 8);
  for (const name of members) {
    const like = name.endsWith('-any') ? shown[1] : name === shown[0] ? shown[0] : 'web-udp-192.0.2.10-8080';
    expect(bodyOf(result, name)).toEqual(bodyOf(result, like ?? ''));
  }
});

test('every word of DPVS', async () => {
  const result = imported('dpvs.conf');
  await expect(placeless(writeImported(result, base))).toMatchFileSnapshot('fixtures/dpvs.yaml');
  await expect(reportsOf(result)).toMatchFileSnapshot('fixtures/dpvs.reports');
});

test.each(['every-keyword.conf', 'dpvs.conf'])('%s: what is written is a right configuration, the same one', (name) => {
  const result = imported(name);
  const read = parseConfig(writeImported(result, base), 'millrace.yaml');
  expect(read.problems).toEqual([]);
  expect('config' in read && read.config).toEqual(result.config);
});

const bare = { interfaces: [{ name: 'eth0' }], localAddresses: ['198.18.0.1', '2001:db8:18::1'], services: [] };

function translated(text: string) {
  const result = translate(load(text), { base: bare });
  expect(result.problems).toEqual([]);
  const kinds = ['unsupported', 'invalid'];
  const reports = result.reports.filter(({ kind }) => kinds.includes(kind)).map(({ line, reason }) => `${line}: ${reason}`);
  return { services: result.input.services, reports };
}

test('checks that all servers have alike stand at the service', () => {
  const real = (address: string, check: string) => `real_server ${address} 80 {\n${check}\n}`;
  const of = (...reals: string[]) =>
    translated(`virtual_server 192.0.2.1 80 {\nprotocol TCP\n${reals.join('\n')}\n}`).services[0];
  const alike = of(real('10.0.0.1', 'TCP_CHECK {\n}'), real('10.0.0.2', 'TCP_CHECK {\n}'));
  expect(alike?.healthChecks).toMatchObject([{ type: 'tcp' }]);
  expect(alike?.servers.map((one) => one.healthChecks)).toEqual([undefined, undefined]);
  const different = of(real('10.0.0.1', 'TCP_CHECK {\n}'), real('10.0.0.2', ''));
  expect(different?.healthChecks).toBeUndefined();
  expect(different?.servers.map((one) => one.healthChecks?.length)).toEqual([1, undefined]);
});

test('the innermost time counts, and keepalived’s own where there is none', () => {
  const text = server('delay_loop 6\nretry 2', 'delay_before_retry 5', 'TCP_CHECK {\nconnect_timeout 1.5\n}\nDNS_CHECK {\n}');
  expect(translated(text).services[0]?.healthChecks).toEqual([
    { type: 'tcp', interval: 6, jitter: 0, timeout: 1.5, rise: 1, fall: 3, retryInterval: 5 },
    { type: 'dns', interval: 6, jitter: 0, timeout: 5, rise: 1, fall: 3, retryInterval: 5 },
  ]);
  expect(translated(server('')).services[0]?.healthChecks).toEqual([
    { type: 'tcp', interval: 60, jitter: 0, timeout: 5, rise: 1, fall: 2, retryInterval: 1 },
  ]);
});

test('only NAT changes ports; a check goes to the port that was written', () => {
  const text = `virtual_server 192.0.2.1 80 {\nprotocol TCP\nlb_kind DR\nreal_server 10.0.0.1 8080 {\nTCP_CHECK {\n}\n}\n}`;
  const [service] = translated(text).services;
  expect(service?.servers).toEqual([{ address: '10.0.0.1', weight: 1 }]);
  expect(service?.healthChecks).toMatchObject([{ port: 8080 }]);
});

test('what the configuration refuses is left out, and reported where it stands', () => {
  const text = server('sorry_server 127.0.0.1 80', '', 'TCP_CHECK {\n}\n}\nreal_server 192.0.2.1 80 {\nTCP_CHECK {\n}');
  const { services, reports } = translated(text);
  expect(services[0]?.sorryServer).toBeUndefined();
  expect(services[0]?.servers.map(({ address }) => address)).toEqual(['10.0.0.1']);
  expect(reports).toEqual([
    '11: this real server is left out: server 192.0.2.1 is also the address of the service at tcp-192.0.2.1-80',
    '5: the sorry server is left out: server 127.0.0.1 is a loopback address',
  ]);
});

test('two virtual servers that are one: the later one is left out', () => {
  const { services, reports } = translated(`${server('')}\n${server('')}`);
  expect(services.map(({ name }) => name)).toEqual(['tcp-192.0.2.1-80']);
  expect(reports).toContainEqual(expect.stringContaining('service tcp-192.0.2.1-80-2 is left out: a second service'));
});

test('names say what a service is, and snmp_name is one where it can be', () => {
  const names = (text: string) => translated(text).services.map(({ name }) => name);
  expect(names(server(''))).toEqual(['tcp-192.0.2.1-80']);
  expect(names(server('snmp_name shop'))).toEqual(['shop']);
  expect(names(server('snmp_name "a shop"'))).toEqual(['tcp-192.0.2.1-80']);
  expect(names('virtual_server 2001:db8::1 443 {\nprotocol UDP\nreal_server 2001:db8::2 443 {\n}\n}')).toEqual([
    'udp-2001-db8--1-443',
  ]);
  const long = 'g'.repeat(80);
  const group = `virtual_server_group ${long} {\n2001:db8::1-3 65535\n}\nvirtual_server group ${long} {\nprotocol TCP\nlb_kind NAT\nreal_server 2001:db8::9 1 {\n}\n}`;
  expect(names(group)).toEqual([1, 2, 3].map((last) => `${'g'.repeat(41)}-tcp-2001-db8--${last}-65535`));
});

test('a mark that the base does not know is reported with what to write', () => {
  const file = load('virtual_server fwmark 3 {\nreal_server 10.0.0.1 80 {\n}\n}');
  const { input, reports } = translate(file, { base: bare });
  expect(input.services).toEqual([]);
  expect(reports.find(({ kind }) => kind === 'unsupported')).toMatchObject({
    line: 1,
    remedy: expect.stringContaining('mark: 3'),
  });
  expect(short(file, ['unsupported'])).toEqual([]);
});

test('without what only the operator can say there is an error with the option', () => {
  const conf = fixture('dpvs.conf');
  expect(() => importKeepalived(conf, {})).toThrowError(/interfaces: keepalived.conf does not say.*\n.*--interface NAME/);
  const nobody = fixture('every-keyword.conf');
  expect(() => importKeepalived(nobody, { interfaces: ['eth0'] })).toThrowError(
    /localAddresses: no IPv4 local address.*--local-address/s,
  );
  expect(() => importKeepalived(nobody, { base: conf })).toThrowError(
    expect.objectContaining({ code: 'MILLRACE_E_CONFIG_INVALID' }),
  );
  expect(() => importKeepalived('/nowhere/at-all', { base })).toThrowError(
    expect.objectContaining({ code: 'MILLRACE_E_CONFIG_UNREADABLE' }),
  );
});
