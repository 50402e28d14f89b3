// A real server in memory: kernel parameters, addresses, links and the few words of `ip` that src/realserver uses. Tests only.
import type { Host, IpResult } from '../../../../src/realserver/host.js';
import type { RealserverState, StateStore } from '../../../../src/realserver/state-file.js';
import { FakeIngress } from './fake-ingress.js';

interface FakeLink {
  readonly mtu: number;
  readonly loopback: boolean;
  up: boolean;
  readonly addresses: Map<string, { readonly length: number; readonly words: string }>;
  readonly type: string;
}

const done: IpResult = { code: 0, stdout: '', stderr: '' };
const refused = (stderr: string): IpResult => ({ code: 2, stdout: '', stderr });

export class FakeHost implements Host {
  readonly sysctls = new Map<string, string>();
  readonly links = new Map<string, FakeLink>();
  readonly commands: string[] = [];
  readonly ingress = new FakeIngress();
  readonly guePorts = new Set<string>();
  nativeError: Error | undefined;
  sysctlsReadOnly = false;
  caps = '000001ffffffffff';
  defaultDevices: { ipv4: string[]; ipv6: string[] } = { ipv4: ['eth0'], ipv6: ['eth0'] };
  /** Tunnel device types that this kernel has. */
  tunnelTypes: readonly string[] = [];
  proxied: string[] = [];
  /** An `ip` command that contains this fails. */
  failing: string | undefined;

  constructor() {
    for (const scope of ['all', 'default']) this.#parameters(scope);
    this.addLink('lo', 65_536);
    this.addLink('eth0', 1500);
    this.addLink('eth1', 1500, { up: false });
    this.address('lo', '127.0.0.1', 8);
    this.address('eth0', '192.0.2.11', 24);
    this.address('eth0', '2001:db8:2::11', 64);
  }

  addLink(name: string, mtu: number, { up = true, type = '' } = {}): void {
    this.links.set(name, { mtu, loopback: name === 'lo', up, addresses: new Map(), type });
    this.#parameters(name);
  }

  address(device: string, address: string, length: number, words = ''): void {
    this.links.get(device)?.addresses.set(address, { length, words });
  }

  raise(name: string): void {
    const link = this.links.get(name);
    if (link === undefined) throw new Error(`the made-up machine has no ${name}`);
    link.up = true;
  }

  /** Everything that a change could alter, as one comparable value. */
  snapshot(): unknown {
    return {
      sysctls: Object.fromEntries(this.sysctls),
      links: [...this.links].map(([name, link]) => [name, link.up, [...link.addresses]]),
      hooks: [...this.ingress.hooks].map(([name, hook]) => [name, hook.kind, [...hook.programs], hook.foreignFilters]),
      guePorts: [...this.guePorts],
    };
  }

  #parameters(scope: string): void {
    for (const name of ['arp_ignore', 'arp_announce', 'rp_filter']) this.sysctls.set(`net/ipv4/conf/${scope}/${name}`, '0');
    this.sysctls.set(`net/ipv6/conf/${scope}/disable_ipv6`, '0');
  }

  readSysctl(path: string): string | undefined {
    return this.sysctls.get(path);
  }

  writeSysctl(path: string, value: string): void {
    if (!this.sysctls.has(path)) throw new Error(`there is no ${path}`);
    this.sysctls.set(path, value);
  }

  canWriteSysctls(): boolean {
    return !this.sysctlsReadOnly;
  }

  native(): FakeIngress {
    if (this.nativeError !== undefined) throw this.nativeError;
    return this.ingress;
  }

  capabilities(): string {
    return this.caps;
  }

  async ip(args: readonly string[]): Promise<IpResult> {
    const command = args.join(' ');
    if (this.failing !== undefined && command.includes(this.failing)) return refused('RTNETLINK answers: No');
    const family = command.startsWith('-6') ? 'ipv6' : 'ipv4';
    if (command === '-json address show') return { ...done, stdout: JSON.stringify(this.#listing()) };
    if (command.endsWith('route show default')) return this.#json(this.defaultDevices[family].map((dev) => ({ dev })));
    if (command.startsWith('-json route get')) return this.#json([{ dev: this.defaultDevices.ipv4[0] ?? 'lo' }]);
    if (command === '-json neighbour show proxy') return this.#json(this.proxied.map((dst) => ({ dst })));
    if (command.endsWith('fou show')) {
      const ports = [...this.guePorts].filter((entry) => entry.startsWith(family));
      return { ...done, stdout: ports.map((entry) => `port ${entry.slice(family.length + 1)} gue\n`).join('') };
    }
    if (args[0] === 'link' && args[1] === 'show') {
      const link = this.links.get(args[3] ?? '');
      return link !== undefined && link.type === args[5] ? { ...done, stdout: `${args[3]}\n` } : done;
    }
    this.commands.push(command);
    return this.#change(args, family);
  }

  #change(args: readonly string[], family: 'ipv4' | 'ipv6'): IpResult {
    const [object, verb] = args[0] === '-6' ? args.slice(1) : args;
    const word = (name: string): string => args[args.indexOf(name) + 1] ?? '';
    if (object === 'address') {
      const [address = '', length = ''] = (args[2] ?? '').split('/');
      const held = this.links.get(word('dev'))?.addresses;
      if (verb === 'add') held?.set(address, { length: Number(length), words: args.slice(5).join(' ') });
      else if (held?.delete(address) !== true) return refused('RTNETLINK answers: Cannot assign requested address');
      return done;
    }
    if (object === 'link' && verb === 'add') {
      if (!this.tunnelTypes.includes(word('type'))) return refused('Error: Unknown device type.');
      this.addLink(word('name'), 1480, { up: false, type: word('type') });
      return done;
    }
    if (object === 'link' && verb === 'set') {
      this.raise(word('dev'));
      return done;
    }
    if (object === 'link' && verb === 'delete') {
      this.links.delete(word('dev'));
      for (const path of [...this.sysctls.keys()]) if (path.includes(`/${word('dev')}/`)) this.sysctls.delete(path);
      return done;
    }
    if (object === 'fou') {
      if (!this.tunnelTypes.includes('fou')) return refused('RTNETLINK answers: No such file or directory');
      const entry = `${family} ${word('port')}`;
      if (verb === 'add') this.guePorts.add(entry);
      else this.guePorts.delete(entry);
      return done;
    }
    throw new Error(`the made-up machine does not know "ip ${args.join(' ')}"`);
  }

  #json(records: readonly object[]): IpResult {
    return { ...done, stdout: records.length === 0 ? '' : JSON.stringify(records) };
  }

  #listing(): readonly object[] {
    return [...this.links].map(([ifname, link]) => ({
      ifname,
      mtu: link.mtu,
      flags: [...(link.up ? ['UP'] : []), ...(link.loopback ? ['LOOPBACK'] : [])],
      addr_info: [...link.addresses].map(([local, { length }]) => ({ local, prefixlen: length })),
    }));
  }
}

export class MemoryStore implements StateStore {
  state: RealserverState | undefined;
  readonly written: (RealserverState | undefined)[] = [];

  read(): RealserverState | undefined {
    return this.state;
  }

  write(state: RealserverState | undefined): void {
    // Through text, as the file does it.
    this.state = state === undefined ? undefined : JSON.parse(JSON.stringify(state));
    this.written.push(this.state);
  }

  locked<T>(work: () => Promise<T>): Promise<T> {
    return work();
  }
}
