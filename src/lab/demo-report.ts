// What a run of the demo found, as data and as text for a person. The JSON form is this data and nothing else.
// Guarantees: `ok` is true only if every check passed, no request failed and the sums agree; pure functions.
// Thread: any.
import { type Family, plans, realServerRoles } from './addresses.js';
import type { BalancerInterface, BalancerStats } from './balancer-events.js';
import { accounted } from './balancer-events.js';
import { bytesText, numberText, table } from './text.js';

export interface DemoCheck {
  readonly name: string;
  readonly ok: boolean;
  readonly requests: number;
  readonly failed: number;
  /** Answers per real server, where the answer tells. */
  readonly byServer: Readonly<Record<string, number>>;
  /** One line for a person. */
  readonly detail: string;
}

export interface DemoReport {
  readonly ok: boolean;
  readonly family: Family;
  readonly workers: number;
  readonly seconds: number;
  readonly interfaces: readonly BalancerInterface[];
  readonly checks: readonly DemoCheck[];
  readonly requests: { readonly total: number; readonly failed: number };
  readonly stats: BalancerStats;
  readonly sums: { readonly received: number; readonly accounted: number; readonly agree: boolean };
}

export interface DemoFindings {
  readonly family: Family;
  readonly workers: number;
  readonly seconds: number;
  readonly interfaces: readonly BalancerInterface[];
  readonly checks: readonly DemoCheck[];
  readonly stats: BalancerStats;
}

export function makeReport(findings: DemoFindings): DemoReport {
  const { checks, stats } = findings;
  const failed = checks.reduce((sum, check) => sum + check.failed, 0);
  const sums = { received: stats.totals.rxPackets, accounted: accounted(stats.totals) };
  const agree = sums.received === sums.accounted && sums.received > 0;
  return {
    ok: checks.every((check) => check.ok) && failed === 0 && agree,
    ...findings,
    requests: { total: checks.reduce((sum, check) => sum + check.requests, 0), failed },
    sums: { ...sums, agree },
  };
}

/** True if each real server gave at least one of the answers. */
export function answeredByAll(byServer: Readonly<Record<string, number>>): boolean {
  return realServerRoles.every((role) => (byServer[role] ?? 0) > 0);
}

export function modeText(interfaces: readonly BalancerInterface[]): string {
  const modes = new Set(
    interfaces.map((one) => {
      const mode = one.attachMode === 'native' ? 'driver mode' : 'generic (SKB) mode';
      return `${mode}, ${one.zeroCopy ? 'zero copy' : 'copy'}`;
    }),
  );
  return `AF_XDP, ${[...modes].join(' and ') || 'mode unknown'}`;
}

/** The closing summary. */
export function reportText(report: DemoReport): string {
  const { stats, family, requests } = report;
  const plan = plans[family];
  const drops = Object.entries(stats.totals.drops).map(([reason, count]) => `${reason} ${numberText(count)}`);
  const servers = realServerRoles.map((role) => `${role} ${plan.servers[role]}`).join(', ');
  const { totals } = stats;
  const lines = [
    report.ok
      ? 'Millrace demo: everything was answered, by both real servers, and no request failed.'
      : 'Millrace demo: NOT everything went well; see the lines marked "!!".',
    '',
    `  Path       client ${plan.clients[0]}  ->  VIP ${plan.vip} and ${plan.routedVip}  ->  ${servers}`,
    `  Balancer   ${modeText(report.interfaces)}; ${report.workers} workers on ${report.interfaces.map((one) => one.name).join(' and ')}`,
    '',
    ...report.checks.map((check) => `  ${check.ok ? 'ok' : '!!'}  ${check.name.padEnd(34)} ${check.detail}`),
    '',
    ...indent(serverTable(stats)),
    '',
    `  Requests   ${numberText(requests.total)} made, ${numberText(requests.failed)} failed`,
    `  Packets    ${numberText(totals.rxPackets)} received = ${numberText(totals.forwarded)} forwarded + ` +
      `${numberText(totals.consumed)} answered here + ${numberText(totals.held)} waiting + ${numberText(totals.dropped)} dropped` +
      `${report.sums.agree ? '' : `   !! the sum is ${numberText(report.sums.accounted)}`}`,
    `  Dropped    ${drops.length > 0 ? drops.join(', ') : 'nothing'}`,
    `  Sessions   ${numberText(totals.sessionsCreated)} made, ${numberText(totals.sessions)} in the table at the end`,
    '',
    '  Try next',
    '    npm run demo -- --ipv6            the same over IPv6',
    '    npx millrace lab up               this lab, to play with; then: npx millrace lab exec client -- curl VIP',
    '    npx millrace doctor               what this host can do',
    '    examples/                         configurations to start from',
    '',
  ];
  return lines.join('\n');
}

function serverTable(stats: BalancerStats): string[] {
  return table(
    ['service', 'real server', 'connections', 'packets in', 'packets out', 'bytes in', 'bytes out'],
    stats.servers.map((server) => [
      server.service,
      server.server,
      numberText(server.connections),
      numberText(server.inPackets),
      numberText(server.outPackets),
      bytesText(server.inBytes),
      bytesText(server.outBytes),
    ]),
  );
}

function indent(lines: readonly string[]): string[] {
  return lines.map((line) => `  ${line}`);
}
