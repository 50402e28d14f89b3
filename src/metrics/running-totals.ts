// Sums of counters that come and go. A real server that leaves the dataplane, because it was removed or because it is down, takes its
// counters with it; a sum over those that are there would fall, and Prometheus would take the rest for new traffic.
// Guarantees: totals never fall while their group is known; what was counted by somebody who has left stays in the total of the group,
// and what was counted in a group that has left stays in the grand total.
// Thread: main.

type Values = readonly number[];

interface Entry {
  /** What was counted in earlier lives. */
  readonly base: number[];
  readonly last: number[];
  /** The part of `last` that belongs to a life that is ending, while the next one has begun. */
  ending: Values | undefined;
  round: number;
}

interface Group {
  readonly entries: Map<string, Entry>;
  readonly departed: number[];
  total: Values;
  round: number;
}

const plus = (a: Values, b: Values): number[] => a.map((value, i) => value + (b[i] ?? 0));

/** What a counter that says less than before has said and will not say again: the life that was ending, or all of it. */
function lost({ last, ending }: Entry, i: number, now: number): number {
  const before = last[i] ?? 0;
  if (now >= before) return 0;
  const end = ending?.[i] ?? 0;
  return now >= before - end ? end : before;
}

/** In rounds: note() and keep() for everything that is there, then finish(). */
export class RunningTotals {
  readonly #zero: Values;
  readonly #groups = new Map<string, Group>();
  #departed: Values;
  #round = 1;

  /** `width`: how many counters each entry has. */
  constructor(width: number) {
    this.#zero = Array.from({ length: width }, () => 0);
    this.#departed = this.#zero;
  }

  /**
   * What the counters of an entry say now; its totals come back. `ending` is what an earlier life of the same name still counts, which
   * will vanish by itself.
   */
  note(groupName: string, name: string, values: Values, ending?: Values): Values {
    const entry = this.#entry(groupName, name);
    // In place: this runs for every counter of every real server at each scrape.
    const total = [...this.#zero];
    for (let i = 0; i < total.length; i++) {
      const now = (values[i] ?? 0) + (ending?.[i] ?? 0);
      const base = (entry.base[i] ?? 0) + lost(entry, i, now);
      entry.base[i] = base;
      entry.last[i] = now;
      total[i] = base + now;
    }
    entry.ending = ending;
    return total;
  }

  /** The entry has no counters now but is still known: its totals stay. */
  keep(groupName: string, name: string): Values {
    return this.note(groupName, name, this.#zero);
  }

  /** Ends the round: entries and groups that were not mentioned in it are forgotten, all but their sums. */
  finish(): void {
    for (const [name, group] of this.#groups) {
      const total = [...group.departed];
      for (const [key, entry] of group.entries) {
        const stays = entry.round === this.#round;
        for (let i = 0; i < total.length; i++) {
          const counted = (entry.base[i] ?? 0) + (entry.last[i] ?? 0);
          total[i] = (total[i] ?? 0) + counted;
          if (!stays) group.departed[i] = (group.departed[i] ?? 0) + counted;
        }
        if (!stays) group.entries.delete(key);
      }
      group.total = total;
      if (group.round === this.#round) continue;
      this.#departed = plus(this.#departed, group.total);
      this.#groups.delete(name);
    }
    this.#round += 1;
  }

  /** Of all entries that the group has had, as of the last finish(). */
  group(name: string): Values {
    return this.#groups.get(name)?.total ?? this.#zero;
  }

  /** Of all groups that there have been, as of the last finish(). */
  grand(): Values {
    return [...this.#groups.values()].reduce<Values>((sum, { total }) => plus(sum, total), this.#departed);
  }

  #entry(groupName: string, name: string): Entry {
    let group = this.#groups.get(groupName);
    if (group === undefined) {
      group = { entries: new Map(), departed: [...this.#zero], total: this.#zero, round: 0 };
      this.#groups.set(groupName, group);
    }
    group.round = this.#round;
    let entry = group.entries.get(name);
    if (entry === undefined) {
      entry = { base: [...this.#zero], last: [...this.#zero], ending: undefined, round: 0 };
      group.entries.set(name, entry);
    }
    entry.round = this.#round;
    return entry;
  }
}
