// Golden case: a configuration, packets that arrive at known times, and for each of them what must become of it. From these fates
// follow the expected output capture and the counters of traffic; only what a packet's fate does not tell (sessions, MSS, handoffs)
// is stated as numbers. Runs in tests only.

import type { CapturedPacket } from '../../support/packet/index.js';
import type { Step } from './flow.js';
import { type CaseConfig, SHARED_CONFIG } from './network.js';
import type { Nested } from './tunnel.js';

/** Counters that follow from the machine's pace and not from the traffic: golden cases do not state them. */
export const EFFORT_COUNTERS: ReadonlySet<string> = new Set(['loop_turns', 'loop_turns_busy', 'sleeps', 'tx_kicks']);

/** Captures begin at 2026-01-01T00:00:00Z; packets follow each other after one millisecond unless a case says otherwise. */
const START = 1_767_225_600_000_000_000n;
const MILLISECOND = 1_000_000n;

export interface Placeholder {
  /** Number of the packet in out.pcap, from 1. */
  readonly packet: number;
  /** Local address and port. */
  readonly local?: string;
  /** Header fields that are the flow's to choose: identification, flow label, source port of a tunnel. */
  readonly free?: string;
}

export interface GoldenCase {
  readonly name: string;
  readonly description: string;
  readonly config: CaseConfig;
  readonly steering: 'flow' | 'wrong';
  readonly arriving: readonly CapturedPacket[];
  readonly leaving: readonly CapturedPacket[];
  readonly placeholders: readonly Placeholder[];
  /** By number of the packet in out.pcap, from 1: the packets inside packets. */
  readonly nested: ReadonlyMap<number, Nested>;
  readonly passedToKernel: number;
  /** Every traffic counter that is not zero. */
  readonly counters: Readonly<Record<string, number>>;
  /** Per "service server:port", the statistics that the case states. */
  readonly servers: Readonly<Record<string, Readonly<Record<string, number>>>>;
}

export interface CaseOptions {
  readonly config?: CaseConfig;
  readonly steering?: 'flow' | 'wrong';
}

/** Collects the packets of a case in the order of arrival. */
export class Timeline {
  readonly arriving: CapturedPacket[] = [];
  readonly leaving: CapturedPacket[] = [];
  readonly placeholders: Placeholder[] = [];
  readonly nested = new Map<number, Nested>();
  readonly counters: Record<string, number> = {};
  readonly servers: Record<string, Record<string, number>> = {};
  passedToKernel = 0;
  #now = START;
  #standstill = false;

  /** Lets the capture's time pass. */
  wait(seconds: number): this {
    this.#now += BigInt(Math.round(seconds * 1000)) * MILLISECOND;
    return this;
  }

  /** All packets of `play` arrive at one instant: for what may come out in either order. */
  simultaneously(play: () => void): this {
    this.#standstill = true;
    play();
    this.#standstill = false;
    this.#tick();
    return this;
  }

  /** Arrives and is sent on. */
  forward(...steps: readonly Step[]): this {
    for (const step of steps) {
      this.#received(step.arriving);
      this.#passedOn(step);
      this.#tick();
    }
    return this;
  }

  /** Arrives and waits inside. */
  keep(...frames: readonly Uint8Array[]): this {
    for (const frame of frames) {
      this.#received(frame);
      this.#tick();
    }
    return this;
  }

  /** Arrives and is sent on, and behind it those that have waited for it. */
  release(step: Step, ...waiting: readonly Step[]): this {
    this.#received(step.arriving);
    for (const each of [step, ...waiting]) this.#passedOn(each);
    this.#tick();
    return this;
  }

  /** Arrives and is sent on in pieces. */
  cut({ arriving, pieces }: { readonly arriving: Uint8Array; readonly pieces: readonly Step[] }): this {
    this.#received(arriving);
    for (const piece of pieces) this.#passedOn(piece);
    const further = pieces.length - 1;
    this.#count('forwarded', -further);
    this.#count('originated', further);
    this.#count('fragmented');
    this.#tick();
    return this;
  }

  /** Arrives, is dropped for this reason, and its sender is told so by an ICMP error. */
  refuse(reason: string, frame: Uint8Array, error: Uint8Array, nested: Nested): this {
    this.#received(frame);
    this.#sent(error);
    this.nested.set(this.leaving.length, nested);
    this.#count(reason);
    this.#count('originated');
    this.#tick();
    return this;
  }

  /** Arrives and is dropped for this reason. */
  drop(reason: string, ...frames: readonly Uint8Array[]): this {
    for (const frame of frames) {
      this.#received(frame);
      this.#count(reason);
      this.#tick();
    }
    return this;
  }

  /** Arrives and is not for the balancer. */
  kernel(...frames: readonly Uint8Array[]): this {
    for (const frame of frames) {
      this.arriving.push({ time: this.#now, bytes: frame });
      this.passedToKernel++;
      this.#tick();
    }
    return this;
  }

  /** Arrives and is answered by the balancer itself. */
  answer(frame: Uint8Array, reply: Uint8Array): this {
    this.#received(frame);
    this.#sent(reply);
    this.#count('consumed');
    this.#count('originated');
    this.#tick();
    return this;
  }

  /** States counters that do not follow from single packets; adds to what is there. */
  expect(counters: Readonly<Record<string, number>>): this {
    for (const [name, value] of Object.entries(counters)) this.#count(name, value);
    return this;
  }

  /** States statistics of one server of one service, such as "web" "192.0.2.11:8080". */
  server(service: string, server: string, stats: Readonly<Record<string, number>>): this {
    this.servers[`${service} ${server}`] = { ...stats };
    return this;
  }

  #received(bytes: Uint8Array): void {
    this.arriving.push({ time: this.#now, bytes });
    this.#count('rx_packets');
    this.#count('rx_bytes', bytes.length);
  }

  #passedOn(step: Step): void {
    this.#sent(step.leaving);
    const packet = this.leaving.length;
    if (step.placeholder !== undefined) this.placeholders.push({ packet, local: step.placeholder });
    if (step.free !== undefined) this.placeholders.push({ packet, free: step.free });
    if (step.nested !== undefined) this.nested.set(packet, step.nested);
    this.#count('forwarded');
  }

  /** Time of the next packet in milliseconds: what the balancer's clock will say. */
  get now(): number {
    return Number(this.#now / MILLISECOND);
  }

  #sent(bytes: Uint8Array): void {
    this.leaving.push({ time: this.#now, bytes });
    this.#count('tx_packets');
    this.#count('tx_bytes', bytes.length);
  }

  #count(name: string, by = 1): void {
    this.counters[name] = (this.counters[name] ?? 0) + by;
  }

  #tick(): void {
    if (!this.#standstill) this.#now += MILLISECOND;
  }
}

/** Defines a case. `name` is its directory, `description` one sentence. */
export function golden(name: string, description: string, play: (t: Timeline) => void, options: CaseOptions = {}): GoldenCase {
  const timeline = new Timeline();
  play(timeline);
  return {
    name,
    description,
    config: options.config ?? SHARED_CONFIG,
    steering: options.steering ?? 'flow',
    arriving: timeline.arriving,
    leaving: timeline.leaving,
    placeholders: timeline.placeholders,
    nested: timeline.nested,
    passedToKernel: timeline.passedToKernel,
    counters: Object.fromEntries(Object.entries(timeline.counters).filter(([, value]) => value !== 0)),
    servers: timeline.servers,
  };
}
