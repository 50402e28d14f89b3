// `millrace doctor`: what this host can do, what is missing, and how to get it.
// Exit code 0 when a balancer can start, 3 when not. Changes nothing.
// Thread: main.
import type { Command } from 'commander';
import { loadConfig } from '../../config/load.js';
import { toNative } from '../../config/to-native.js';
import { gatherFacts } from '../../doctor/gather.js';
import { hostDescription, needsOf } from '../../doctor/needs.js';
import { defaultNeeds, diagnose, renderFindings } from '../../doctor/report.js';
import { EXIT_CODES } from '../exit-code.js';
import { paint } from '../table.js';

interface DoctorOptions {
  readonly config?: string;
  readonly json?: true;
}

export function register(program: Command): void {
  program
    .command('doctor')
    .description('show what this host can do')
    .option('-c, --config <file>', 'judge the host by what this configuration needs')
    .option('--json', 'print facts and findings as JSON')
    .action(doctor);
}

async function doctor(options: DoctorOptions): Promise<void> {
  const config = options.config === undefined ? undefined : await loadConfig(options.config);
  const facts = gatherFacts();
  const needs = config === undefined ? defaultNeeds : needsOf(toNative(config, hostDescription(facts)).options, facts);
  const report = diagnose(facts, needs);
  if (options.json) {
    // JSON has no infinity: an unlimited limit is null there, like in no other place.
    process.stdout.write(`${JSON.stringify({ ok: report.canStart, needs, findings: report.findings, facts }, null, 2)}\n`);
  } else {
    const ink = paint(process.stdout);
    const colours = { ok: ink.green, warning: ink.yellow, problem: ink.red };
    const verdict = report.canStart
      ? ink.green('A load balancer can start here.')
      : ink.red('A load balancer cannot start here.');
    process.stdout.write(
      `${renderFindings(report.findings, { paint: (status, text) => colours[status](text) })}\n\n${verdict}\n`,
    );
  }
  process.exitCode = report.canStart ? EXIT_CODES.ok.code : EXIT_CODES.host.code;
}
