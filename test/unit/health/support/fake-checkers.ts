// Stands in for the health workers: remembers what it is to check, and lets a test say what they find.
import type { Lateness } from '../../../../src/health/messages.js';
import type { Checkers } from '../../../../src/health/pool.js';
import type { Change, Standing, TargetStatus } from '../../../../src/health/runner.js';
import type { CheckTarget } from '../../../../src/health/target.js';

export class FakeCheckers implements Checkers {
  readonly targets = new Map<string, CheckTarget>();
  readonly standings = new Map<string, Standing>();
  /** Ids in the order in which they were asked for. */
  readonly asked: string[] = [];
  closed = false;
  report: (changes: readonly Change[]) => void = () => undefined;

  set(targets: readonly CheckTarget[], standings: ReadonlyMap<string, Standing>): void {
    for (const [id, standing] of standings) this.standings.set(id, { ...standing });
    for (const target of targets) {
      this.targets.set(target.id, target);
      this.asked.push(target.id);
    }
  }

  remove(ids: readonly string[]): void {
    for (const id of ids) this.targets.delete(id);
  }

  async status(): Promise<{ readonly targets: readonly TargetStatus[]; readonly lateness: readonly Lateness[] }> {
    const targets = [...this.targets.keys()].map((id) => ({ id, up: true, streak: 1, checks: 1, failures: 0, spent: 2 }));
    return { targets, lateness: [] };
  }

  async close(): Promise<void> {
    this.closed = true;
  }

  ref(): void {}

  unref(): void {}
}
