// An explanation as a person reads it: one line per decision, then the headers before and after.
// Guarantees: pure; lines of at most 100 columns where the names in the configuration allow it.
// Thread: any.
import type { Explanation, Outcome } from './explain.js';
import { formatHeader, type Header } from './headers.js';

const WIDTH = 100;
const LABEL = 12;
const CONDITIONS = { match: 'match', access: 'access', persistence: 'persists', limits: 'limits' } as const;

export function renderExplanation(explanation: Explanation): string {
  const { service, rule, worker, local, nextHop, before, after, assumptions } = explanation;
  const lines = [`${explanation.packet}, in by ${explanation.interface}`, ''];
  const say = (label: string, text: string): number => lines.push(...wrapped(label, text));
  if (service !== undefined) {
    say('service', `${service.name} (${service.match}), mode ${service.mode}`);
    say('scheduler', `${service.scheduler} (${service.why})`);
    const others = service.candidates === 1 ? 'the only one with a weight' : `one of ${service.candidates} with a weight`;
    say('server', `${service.server}, weight ${service.weight}, ${others}, as if nothing had been scheduled`);
  }
  for (const { kind, text } of explanation.conditions) say(CONDITIONS[kind], text);
  if (rule !== undefined) {
    say('rule', `${rule.name} (${rule.match}), outbound gateway (SNAT)`);
    say('pool', rule.pool.join(', '));
  }
  if (worker !== undefined) say('worker', `${worker.owner} of ${worker.workers}: ${worker.text}`);
  if (local !== undefined) say('local', describeLocal(local));
  if (nextHop !== undefined) say('next hop', `${nextHop.address || 'unknown'} at ${nextHop.mac} on ${nextHop.interface}`);
  const answers = service?.answers ?? rule?.answers;
  if (answers !== undefined) say('answers', answers);
  say('outcome', describeOutcome(explanation.outcome));
  lines.push('', ...headerLines('before', before));
  for (const [number, headers] of after.entries()) lines.push(...headerLines(number === 0 ? 'after' : 'also', headers));
  if (assumptions.length > 0) lines.push('');
  for (const text of assumptions) say('assumed', text);
  return lines.join('\n');
}

function describeLocal({ address, port, identifier }: NonNullable<Explanation['local']>): string {
  if (identifier !== undefined) return `${address} identifier ${identifier}`;
  return port === undefined ? `${address}, outer source` : `${address} port ${port}`;
}

function describeOutcome(outcome: Outcome): string {
  switch (outcome.kind) {
    case 'forwarded':
      return `forwarded by ${outcome.interface}`;
    case 'answered':
      return `answered by the balancer, by ${outcome.interface}`;
    case 'kernel':
      return `left to the kernel: ${outcome.text}`;
    case 'dropped':
      return `dropped: ${outcome.reason} (${outcome.stage}): ${outcome.text}${outcome.icmpSent ? '; the sender is told by ICMP' : ''}`;
  }
}

function headerLines(label: string, headers: readonly Header[]): string[] {
  return headers.map((header, i) => `${(i === 0 ? label : '').padEnd(LABEL)}${formatHeader(header)}`.trimEnd());
}

/** The text behind its label, broken between words. */
function wrapped(label: string, text: string): string[] {
  const lines: string[] = [];
  let line = label.padEnd(LABEL);
  for (const word of text.split(' ')) {
    if (line.length + word.length > WIDTH && line.trim().length > 0) {
      lines.push(line.trimEnd());
      line = ' '.repeat(LABEL);
    }
    line += `${word} `;
  }
  return [...lines, line.trimEnd()];
}
