// The texts of `millrace realserver` for a person.
// Guarantees: pure; lines end with a newline.
// Thread: any; no state.
import { renderFindings } from '../doctor/report.js';
import type { TakenBack } from './changes.js';
import type { MtuAdvice } from './mtu-advice.js';
import type { Prepared, Status } from './realserver.js';
import { type Setup, vipsOf } from './setup.js';

export type Paint = (tone: 'good' | 'bad' | 'quiet', text: string) => string;

export const plain: Paint = (_tone, text) => text;

export function renderPrepared(prepared: Prepared, paint: Paint = plain): string {
  const words = { made: paint('good', 'made '), kept: paint('quiet', 'kept '), there: paint('quiet', 'there') } as const;
  const lines = [describeSetup(prepared.setup)];
  if (prepared.deviceReason !== '') lines.push(`  by BPF program: ${prepared.deviceReason}`);
  const doubts = prepared.findings.filter((finding) => finding.status !== 'ok');
  if (doubts.length > 0) lines.push(renderFindings(doubts));
  for (const { outcome, name, before, after } of prepared.changes) {
    lines.push(`  ${words[outcome]}  ${name}${outcome === 'there' ? ` (${after})` : `: ${after} (before: ${before})`}`);
  }
  lines.push(...renderTakenBack(prepared.takenBack, paint), ...renderMtu(prepared.mtu));
  return `${lines.join('\n')}\n`;
}

export function renderUndone(results: readonly TakenBack[], paint: Paint = plain): string {
  if (results.length === 0) return 'nothing was prepared here\n';
  return `${renderTakenBack(results, paint).join('\n')}\n`;
}

function renderTakenBack(results: readonly TakenBack[], paint: Paint): readonly string[] {
  return results.map(({ name, outcome, before, found, reason }) => {
    const line = {
      restored: `${paint('good', 'restored')}  ${name}: ${before} (was ${found})`,
      kept: `${paint('quiet', 'kept    ')}  ${name}: it was ${before} before`,
      gone: `${paint('quiet', 'gone    ')}  ${name}${reason === '' ? '' : `: ${reason}`}`,
      left: `${paint('bad', 'left    ')}  ${name}: ${reason}`,
    }[outcome];
    return `  ${line}`;
  });
}

export function renderStatus(status: Status, paint: Paint = plain): string {
  if (status.setups.length === 0 && status.entries.length === 0) return 'nothing is prepared here\n';
  const lines = status.setups.map(describeSetup);
  const words = { ok: paint('good', 'in place'), gone: paint('bad', 'GONE    '), changed: paint('bad', 'CHANGED ') } as const;
  for (const { name, condition, before, after, present } of status.entries) {
    const found = condition === 'changed' ? `${present}, was set to ${after}` : after;
    lines.push(`  ${words[condition]}  ${name}: ${found} (before: ${before})`);
  }
  if (status.findings.length > 0) lines.push(renderFindings(status.findings));
  for (const { name, counters } of status.programs) {
    lines.push('', `${name}, since it was attached:`);
    const seen = counters.filter((counter) => counter.packets > 0n);
    if (seen.length === 0) lines.push('  no packets yet');
    for (const counter of seen) {
      lines.push(`  ${counter.name.padEnd(16)} ${counter.packets} packets, ${counter.bytes} bytes: ${counter.help}`);
    }
  }
  lines.push(...renderMtu(status.mtu));
  return `${lines.join('\n')}\n`;
}

function describeSetup(setup: Setup): string {
  const on = `on ${setup.interfaces.join(', ')}`;
  switch (setup.mode) {
    case 'direct':
      return `direct routing: ${vipsOf(setup).join(', ')} ${on}`;
    case 'tunnel': {
      const types = setup.types.map((type) => (type === 'gue' ? `gue (port ${setup.guePort})` : type)).join(', ');
      const by = setup.device === 'bpf' ? 'BPF program' : 'devices of the kernel';
      return `tunnel ${types}: ${vipsOf(setup).join(', ')} ${on}, from ${setup.from.join(', ')}, by ${by}`;
    }
    case 'l3dsr':
      return `L3DSR: ${setup.marks.map((mark) => `DSCP ${mark.dscp} = ${mark.vip}`).join(', ')} ${on}`;
  }
}

function renderMtu(advice: readonly (MtuAdvice & { readonly interface: string })[]): readonly string[] {
  if (advice.length === 0) return [];
  const rows = advice.map(
    (one) =>
      `  ${one.type} in ${one.outer} on ${one.interface}: ${one.overhead} bytes more; a client's packet may have ${one.largestInner}, ` +
      `a TCP segment ${one.segmentIpv4} (IPv4) or ${one.segmentIpv6} (IPv6); MTU ${one.neededMtu} would carry every packet`,
  );
  const short = advice.some((one) => one.neededMtu - one.overhead > one.largestInner);
  const hint =
    "  Clients take the segment size from this server's SYN-ACK, which the balancer does not see: raise the MTU between balancer and\n" +
    '  server, or announce less with "advmss" on the default route (ip route change default via GATEWAY advmss SIZE).';
  return ['', 'MTU:', ...rows, ...(short ? [hint] : [])];
}
