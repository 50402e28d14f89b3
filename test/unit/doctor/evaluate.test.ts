// The doctor's judgement of made-up hosts and interfaces: one good host, spoiled in one way per test.
import { expect, test } from 'vitest';
import { evaluateHost, formatList, parseKernelRelease } from '../../../src/doctor/evaluate-host.js';
import { evaluateInterface } from '../../../src/doctor/evaluate-interface.js';
import type { Finding, HostFacts, HostNeeds } from '../../../src/doctor/facts.js';
import { defaultNeeds, describeProblems, diagnose, renderFindings } from '../../../src/doctor/report.js';
import type { NativeInterfaceProbe } from '../../../src/native-binding.js';
import { fakeProbe } from '../module/support/fake-binding.js';
import { goodHost } from '../module/support/hosts.js';

function finding(check: string, facts: Partial<HostFacts>, needs: Partial<HostNeeds> = {}): Finding | undefined {
  return evaluateHost({ ...goodHost, ...facts }, { ...defaultNeeds, ...needs }).find((candidate) => candidate.check === check);
}

function interfaceFinding(
  check: string,
  probe: Partial<NativeInterfaceProbe>,
  needs: Partial<HostNeeds> = {},
): Finding | undefined {
  const findings = evaluateInterface(fakeProbe('wan', probe), { ...defaultNeeds, ...needs });
  return findings.find((candidate) => candidate.check === `interface.${check}`);
}

test('a good host has nothing but ok, and can start', () => {
  const report = diagnose(goodHost, { ...defaultNeeds, interfaces: ['wan'] });
  expect(report.findings.filter((entry) => entry.status !== 'ok')).toEqual([]);
  expect(report.canStart).toBe(true);
});

test('every finding that is not ok says what is needed and how to get it', () => {
  const terrible: HostFacts = {
    ...goodHost,
    kernelRelease: '4.19.0',
    nodeApiVersion: '8',
    capabilities: [],
    userNamespace: true,
    memlock: { soft: 65_536, hard: 65_536 },
    mounts: [],
    hugePages: null,
    btf: false,
    kernelConfig: { source: 'x', values: {} },
    native: { loaded: false, error: 'not there' },
    probe: null,
    interfaces: [fakeProbe('wan', { kind: 'bond', up: false, mtu: 9000, rxQueues: 1, txQueues: 1, master: 'br0' })],
  };
  const { findings } = diagnose(terrible, {
    ...defaultNeeds,
    workers: 4,
    interfaces: ['wan', 'gone'],
    zeroCopy: 'required',
    cpus: [9],
  });
  const wrong = findings.filter((entry) => entry.status !== 'ok');
  expect(wrong.length).toBeGreaterThan(15);
  for (const entry of wrong) {
    expect(entry.needed, entry.check).not.toBe('');
    expect(entry.remedy, entry.check).not.toBe('');
  }
});

test.each<[string, string, Partial<HostFacts>, Finding['status'], RegExp]>([
  ['a kernel before 5.10', 'kernel', { kernelRelease: '5.4.0-150-generic' }, 'problem', /Linux 5\.4\.0/],
  ['macOS', 'platform', { platform: 'darwin' }, 'problem', /darwin/],
  ['a 32-bit host', 'platform', { arch: 'arm' }, 'problem', /linux arm/],
  [
    'no capabilities',
    'capabilities',
    { capabilities: [], uid: 1000 },
    'problem',
    /CAP_NET_ADMIN.*CAP_BPF or CAP_SYS_ADMIN.*CAP_NET_RAW.*user id 1000/,
  ],
  [
    'only CAP_NET_RAW missing',
    'capabilities',
    { capabilities: ['CAP_NET_ADMIN', 'CAP_BPF'] },
    'problem',
    /^missing: CAP_NET_RAW \(/,
  ],
  [
    'CAP_SYS_ADMIN instead of CAP_BPF',
    'capabilities',
    { capabilities: ['CAP_NET_ADMIN', 'CAP_SYS_ADMIN', 'CAP_NET_RAW'] },
    'ok',
    /CAP_SYS_ADMIN/,
  ],
  [
    'a small limit without CAP_IPC_LOCK',
    'memlock',
    { capabilities: ['CAP_NET_ADMIN', 'CAP_BPF', 'CAP_NET_RAW'] },
    'problem',
    /limit 8 MiB/,
  ],
  [
    'an unlimited limit',
    'memlock',
    { capabilities: [], memlock: { soft: Number.POSITIVE_INFINITY, hard: Number.POSITIVE_INFINITY } },
    'ok',
    /unlimited/,
  ],
  ['a small limit with CAP_IPC_LOCK', 'memlock', {}, 'ok', /does not apply with CAP_IPC_LOCK/],
  ['CAP_IPC_LOCK of a user namespace', 'memlock', { userNamespace: true }, 'problem', /limit 8 MiB/],
  ['no BPF file system', 'bpffs', { mounts: [] }, 'ok', /not mounted \(not needed\)/],
  ['no huge pages', 'huge-pages', { hugePages: [{ sizeKiB: 2048, total: 0, free: 0 }] }, 'warning', /none reserved/],
  [
    'huge pages that are all taken',
    'huge-pages',
    { hugePages: [{ sizeKiB: 2048, total: 64, free: 1 }] },
    'warning',
    /1 of 64 free/,
  ],
  ['a user namespace', 'container', { userNamespace: true, container: 'podman' }, 'problem', /user namespace \(podman\)/],
  ['a container', 'container', { container: 'docker' }, 'ok', /docker/],
  [
    'a kernel without AF_XDP',
    'kernel.xdp-sockets',
    { probe: null, kernelConfig: { source: 'x', values: {} } },
    'problem',
    /not in this kernel/,
  ],
  ['AF_XDP refused', 'kernel.xdp-sockets', { probe: { xdp: '', afXdp: 'EPERM', bpfLink: '' } }, 'problem', /EPERM/],
  ['AF_XDP that works although the configuration is unknown', 'kernel.xdp-sockets', { kernelConfig: null }, 'ok', /works?/],
  ['a kernel that nothing is known of', 'kernel.xdp-sockets', { kernelConfig: null, probe: null }, 'warning', /not known/],
  ['BPF that answers with an odd error', 'kernel.bpf', { probe: { xdp: 'EINVAL', afXdp: '', bpfLink: '' } }, 'problem', /EINVAL/],
  ['no bpf_link', 'kernel.bpf-link', { probe: { xdp: '', afXdp: '', bpfLink: 'EINVAL' } }, 'problem', /EINVAL/],
  ['no BTF', 'kernel.btf', { btf: false }, 'warning', /no type information/],
  [
    'an addon that does not load',
    'addon',
    { native: { loaded: false, error: 'libelf is missing' } },
    'problem',
    /libelf is missing/,
  ],
  ['an old Node.js', 'node', { nodeApiVersion: '8' }, 'problem', /Node-API 8/],
  ['no /proc', 'capabilities', { capabilities: null }, 'warning', /not known/],
])('%s: %s', (_, check, facts, status, found) => {
  const result = finding(check, facts);
  expect(result?.status).toBe(status);
  expect(result?.found).toMatch(found);
});

test('on another operating system nothing of Linux is asked', () => {
  const findings = evaluateHost({ ...goodHost, platform: 'darwin' }, defaultNeeds);
  expect(findings.map((entry) => entry.check)).toEqual(['platform', 'node']);
});

test('in a container the advice is about starting the container', () => {
  expect(finding('capabilities', { capabilities: [], container: 'docker' })?.remedy).toContain('--cap-add NET_ADMIN');
  expect(finding('memlock', { capabilities: [], container: 'docker' })?.remedy).toContain('--ulimit memlock=-1');
  expect(finding('capabilities', { capabilities: [] })?.remedy).toContain('AmbientCapabilities');
});

test('more workers need more locked memory and more huge pages', () => {
  const needs = { packetMemory: 512 * 1024 * 1024 };
  expect(finding('huge-pages', {}, needs)?.remedy).toBe('sysctl -w vm.nr_hugepages=256');
  expect(finding('huge-pages', {}, { ...needs, hugePages: false })?.status).toBe('ok');
});

test('busy polling asks for a newer kernel', () => {
  expect(finding('kernel', { kernelRelease: '5.10.0' }, { busyPoll: true })?.status).toBe('warning');
  expect(finding('kernel', { kernelRelease: '5.11.0' }, { busyPoll: true })?.status).toBe('ok');
});

test('CPUs that the process may not use are a problem, too few of them a warning', () => {
  expect(finding('cpus', {}, { cpus: [0, 7] })).toMatchObject({ status: 'problem', needed: 'CPU 7, as configured' });
  expect(finding('cpus', {}, { workers: 3 })?.status).toBe('warning');
  expect(finding('cpus', {}, { cpus: [-1, -1] })?.status).toBe('ok');
});

test.each<[string, string, Partial<NativeInterfaceProbe>, Partial<HostNeeds>, Finding['status'], string]>([
  ['a bond', 'kind', { kind: 'bond' }, {}, 'problem', 'kind bond'],
  ['a member of a bridge', 'master', { master: 'br0' }, {}, 'problem', 'member of br0'],
  ['a link that is down', 'link', { up: false }, {}, 'problem', 'down'],
  ['a link without carrier', 'link', { carrier: false }, {}, 'warning', 'no carrier'],
  ['an MTU of 1500', 'mtu', { mtu: 1500 }, {}, 'ok', 'a frame of 2048'],
  ['an MTU of 3000', 'mtu', { mtu: 3000 }, {}, 'ok', 'a frame of 4096'],
  ['an MTU of 3000 with frames of 2048', 'mtu', { mtu: 3000 }, { frameSize: 2048 }, 'problem', 'MTU 3000'],
  ['a jumbo MTU', 'mtu', { mtu: 9000 }, {}, 'problem', 'MTU 9000'],
  ['fewer queues than workers', 'queues', { rxQueues: 2, txQueues: 2 }, { workers: 4 }, 'problem', '2 receive and 2 transmit'],
  ['more queues than workers', 'queues', { rxQueues: 8, txQueues: 8 }, { workers: 4 }, 'ok', 'for 4 workers'],
  ['no native XDP', 'xdp', { xdpFeatures: { basic: false, redirect: false, zeroCopy: false } }, {}, 'warning', 'no native XDP'],
  [
    'no native XDP where it is required',
    'xdp',
    { xdpFeatures: { basic: false, redirect: false, zeroCopy: false } },
    { attachMode: 'native' },
    'problem',
    'no native XDP',
  ],
  ['a kernel that does not tell', 'xdp', { xdpFeatures: null }, {}, 'ok', 'does not tell'],
  ['no zero copy', 'zero-copy', {}, {}, 'ok', 'copied'],
  ['no zero copy where it is required', 'zero-copy', {}, { zeroCopy: 'required' }, 'problem', 'not offered'],
  ['a program in the way', 'xdp-program', { xdpProgram: { id: 7, name: 'other', mode: 'native' } }, {}, 'problem', 'other (id 7'],
  [
    'a Millrace that runs',
    'xdp-program',
    { xdpProgram: { id: 7, name: 'millrace_xdp', mode: 'native' } },
    {},
    'problem',
    'a running Millrace',
  ],
  ['flow rules that are off, several workers', 'flow-rules', { ntuple: false }, { workers: 2 }, 'warning', 'off'],
  ['flow rules that are on', 'flow-rules', { ntuple: true }, { workers: 2 }, 'ok', 'on'],
])('%s: %s', (_, check, probe, needs, status, found) => {
  const result = interfaceFinding(check, probe, needs);
  expect(result?.status).toBe(status);
  expect(result?.found).toContain(found);
});

test('flow rules do not matter with one worker', () => {
  expect(interfaceFinding('flow-rules', { ntuple: false })).toBeUndefined();
});

test('without a configuration one usable interface is enough, with one each interface counts', () => {
  const facts = { ...goodHost, interfaces: [fakeProbe('lo'), fakeProbe('wan'), fakeProbe('bad', { up: false })] };
  expect(diagnose(facts).canStart).toBe(true);
  expect(diagnose(facts).findings.filter((entry) => entry.interface === 'lo')).toEqual([]);
  expect(diagnose(facts, { ...defaultNeeds, interfaces: ['wan', 'bad'] }).canStart).toBe(false);
  expect(diagnose(facts, { ...defaultNeeds, interfaces: ['gone'] }).canStart).toBe(false);
  expect(diagnose({ ...goodHost, interfaces: [fakeProbe('lo')] }).canStart).toBe(false);
});

test('the text has one line per ok, and three for what is not', () => {
  const text = renderFindings([
    { check: 'a', interface: '', status: 'ok', found: 'fine', needed: '', remedy: '' },
    { check: 'long-name', interface: '', status: 'problem', found: 'first\nsecond', needed: 'this', remedy: 'do that' },
    { check: 'a', interface: 'wan', status: 'ok', found: 'fine', needed: '', remedy: '' },
  ]);
  expect(text.split('\n')).toEqual([
    '  ok       a          fine',
    '  PROBLEM  long-name  first',
    '                      second',
    '                      needed: this',
    '                      how:    do that',
    '',
    'interface wan',
    '  ok       a          fine',
  ]);
});

test('the text of the error has the problems and not the rest', () => {
  const facts = { ...goodHost, capabilities: ['CAP_NET_RAW'], hugePages: null };
  const text = describeProblems(diagnose(facts));
  expect(text).toContain('This host cannot run a load balancer:');
  expect(text).toContain('CAP_NET_ADMIN');
  expect(text).not.toContain('huge-pages');
});

test.each([
  ['6.1.0-13-amd64', [6, 1]],
  ['5.10', [5, 10]],
  ['6.18.44-fc-v669', [6, 18]],
  ['nonsense', [0, 0]],
] as const)('kernel release %s is %j', (release, expected) => {
  expect(parseKernelRelease(release)).toEqual(expected);
});

test('CPU numbers are written as ranges', () => {
  expect(formatList([5, 0, 1, 2, 8, 9])).toBe('0-2,5,8-9');
  expect(formatList([])).toBe('');
});
