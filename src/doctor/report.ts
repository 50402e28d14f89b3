// Puts findings together: which lines there are, whether a balancer can start, and how it reads for a person and for a machine.
// Guarantees: the same text in `millrace doctor` and in the error of createLoadBalancer on an unsupported host.
// Thread: any; no state.
import { evaluateHost } from './evaluate-host.js';
import { evaluateInterface } from './evaluate-interface.js';
import type { Finding, HostFacts, HostNeeds } from './facts.js';

/** What is assumed without a configuration: one worker, the defaults of the file. */
export const defaultNeeds: HostNeeds = {
  workers: 1,
  interfaces: [],
  cpus: [],
  attachMode: 'auto',
  zeroCopy: 'auto',
  frameSize: 0,
  packetMemory: 8192 * 2048,
  hugePages: true,
  busyPoll: false,
};

export interface DoctorReport {
  /** True when a balancer can start: no problem of the host, and none of the interfaces asked for (or one usable interface at least). */
  readonly canStart: boolean;
  readonly findings: readonly Finding[];
}

/** Judges host and interfaces. With `needs.interfaces` empty all interfaces but loopback are looked at. */
export function diagnose(facts: HostFacts, needs: HostNeeds = defaultNeeds): DoctorReport {
  const findings: Finding[] = [...evaluateHost(facts, needs)];
  const hostProblem = findings.some((finding) => finding.status === 'problem');
  if (facts.interfaces === null) return { canStart: !hostProblem, findings };
  let usable = 0;
  let unusable = 0;
  const wanted =
    needs.interfaces.length > 0 ? needs.interfaces : facts.interfaces.map((probe) => probe.name).filter((name) => name !== 'lo');
  for (const name of wanted) {
    const probe = facts.interfaces.find((candidate) => candidate.name === name);
    const own = probe === undefined ? [missingInterface(name)] : evaluateInterface(probe, needs);
    findings.push(...own);
    if (own.some((finding) => finding.status === 'problem')) unusable += 1;
    else usable += 1;
  }
  if (wanted.length === 0) findings.push(noInterface());
  const interfacesServe = needs.interfaces.length > 0 ? unusable === 0 : usable > 0;
  return { canStart: !hostProblem && interfacesServe, findings };
}

function missingInterface(name: string): Finding {
  return {
    check: 'interface.exists',
    interface: name,
    status: 'problem',
    found: 'not in this network namespace',
    needed: 'the interface that the configuration names',
    remedy: 'Compare with ip link; start Millrace in the namespace that holds it.',
  };
}

function noInterface(): Finding {
  return {
    check: 'interface.exists',
    interface: '',
    status: 'problem',
    found: 'no network interface but loopback',
    needed: 'an interface for traffic',
    remedy: 'Start Millrace in the network namespace that holds the interfaces.',
  };
}

const labels = { ok: 'ok     ', warning: 'warning', problem: 'PROBLEM' } as const;

export interface RenderOptions {
  /** Puts colour around a label; identity unless told. */
  readonly paint?: (status: Finding['status'], text: string) => string;
}

/** The findings as lines of text; what is not ok gets two more lines: what is needed and how to get it. */
export function renderFindings(findings: readonly Finding[], options: RenderOptions = {}): string {
  const paint = options.paint ?? ((_status, text) => text);
  const width = Math.max(0, ...findings.map((finding) => finding.check.length));
  const lines: string[] = [];
  let section = '';
  for (const finding of findings) {
    if (finding.interface !== section) {
      section = finding.interface;
      lines.push('', `interface ${section}`);
    }
    const [first = '', ...more] = finding.found.split('\n');
    lines.push(`  ${paint(finding.status, labels[finding.status])}  ${finding.check.padEnd(width)}  ${first}`);
    const indent = ' '.repeat(width + 13);
    for (const line of more) lines.push(`${indent}${line}`);
    if (finding.status === 'ok') continue;
    lines.push(`${indent}needed: ${finding.needed}`, `${indent}how:    ${finding.remedy}`);
  }
  return lines.join('\n');
}

/** The text of an unsupported host's error: only what stands in the way. */
export function describeProblems(report: DoctorReport): string {
  const problems = report.findings.filter((finding) => finding.status === 'problem');
  return `This host cannot run a load balancer:\n${renderFindings(problems)}`;
}
