// What only shows when the whole keepalived.conf is known: names that refer to nothing, virtual servers that keepalived would leave out or
// change. Facts: validate_check_config() of keepalived 2.2.7.
// Guarantees: reports only; the configuration stays as it was written.
// Thread: any; no state.
import type { Scope } from './block.js';
import type { KeepalivedConfig, VirtualServer } from './model.js';

export function checkReferences(config: KeepalivedConfig, scope: Scope): void {
  const seen = new Map<string, VirtualServer>();
  for (const server of config.virtualServers) {
    checkServer(server, config, scope);
    const key = identity(server);
    const earlier = seen.get(key);
    if (earlier !== undefined) {
      const reason = `the same virtual server is on line ${earlier.at.line} of ${earlier.at.file} already`;
      scope.report('invalid', server.at, reason, 'remove one of the two, or give them different ports or protocols');
    } else seen.set(key, server);
  }
}

function identity({ address, protocol, ipFamily }: VirtualServer): string {
  if (address.kind === 'address') return `${protocol} ${address.address.text} ${address.port}`;
  return address.kind === 'fwmark'
    ? `fwmark ${address.mark} ${ipFamily}`
    : `${address.kind} ${address.name} ${protocol} ${ipFamily}`;
}

function checkServer(server: VirtualServer, config: KeepalivedConfig, scope: Scope): void {
  const { at, address, dpvs } = server;
  const note = (reason: string, remedy: string) => scope.report('note', at, reason, remedy);
  const missing = (what: string, name: string) =>
    scope.report('invalid', at, `there is no ${what} ${name}`, 'correct the name, or add the block');
  if (server.realServers.length === 0) note('a virtual server without real servers; keepalived ignores it', 'add a real_server');
  const marks = address.kind === 'fwmark' || address.kind === 'group';
  if (server.protocol === undefined && address.kind === 'address')
    note('no protocol; keepalived takes UDP', 'write protocol TCP or UDP');
  if (server.scheduler === undefined) note('no scheduler; keepalived takes wlc', 'write lvs_sched and a name');
  if (server.forwarding === undefined) note('no forwarding method; keepalived takes NAT', 'write lvs_method and NAT, DR or TUN');
  if (address.kind === 'address' && address.port === undefined && server.persistenceTimeout === undefined) {
    note('no port; keepalived takes that for all ports, and makes the service persistent', 'write a port or persistence_timeout');
  }
  if (server.ops === true && server.protocol !== 'UDP' && !marks) {
    note('ops needs protocol UDP; keepalived ignores it', 'take it away, or write protocol UDP');
  }
  if (address.kind === 'fwmark' && server.haSuspend === true) note('ha_suspend has no meaning with a fwmark', 'take it away');
  if (address.kind === 'group' && !config.groups.some(({ name }) => name === address.name)) {
    missing('virtual_server_group', address.name);
  }
  const groups = [
    ['local_address_group', dpvs.localAddressGroup, config.localAddressGroups],
    ['deny_address_group', dpvs.denyAddressGroup, config.denyAddressGroups],
    ['allow_address_group', dpvs.allowAddressGroup, config.allowAddressGroups],
  ] as const;
  for (const [what, name, known] of groups) {
    if (name !== undefined && !known.some((group) => group.name === name)) missing(what, name);
  }
  for (const check of server.realServers.flatMap((real) => real.checks)) {
    const [what, name, known] =
      check.type === 'FILE_CHECK'
        ? ['track_file', check.trackFile, config.trackFiles.map((file) => file.name)]
        : ['bfd_instance', check.type === 'BFD_CHECK' ? check.name : undefined, config.bfdInstances];
    if (name === undefined || known.includes(name)) continue;
    scope.report('invalid', check.at, `there is no ${what} ${name}`, 'correct the name, or add the block');
  }
}
