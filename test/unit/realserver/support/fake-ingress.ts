// Ingress hooks and programs of a made-up machine: what the addon does, without a kernel. Tests only.
import type {
  NativeDecapsulation,
  NativeIngressProgram,
  NativeIngressState,
  NativeL3dsr,
  NativeRealserver,
} from '../../../../src/native-binding.js';

interface FakeHook {
  kind: 'clsact' | 'ingress';
  readonly programs: Map<NativeIngressProgram, { readonly id: number; readonly config: NativeDecapsulation | NativeL3dsr }>;
  foreignFilters: number;
}

export class FakeIngress implements NativeRealserver {
  readonly hooks = new Map<string, FakeHook>();
  interfaces: readonly string[] = ['eth0', 'eth1'];
  cookie = 7n;
  /** Thrown by the next attachment. */
  refusal: unknown;
  #lastId = 100;

  networkNamespaceCookie(): bigint {
    return this.cookie;
  }

  attachDecapsulation(wanted: NativeDecapsulation): number {
    return this.#attach('decapsulation', wanted);
  }

  attachL3dsr(wanted: NativeL3dsr): number {
    return this.#attach('l3dsr', wanted);
  }

  ingressState(name: string, program: NativeIngressProgram): NativeIngressState {
    this.#require(name);
    const hook = this.hooks.get(name);
    if (hook === undefined) return { hook: '', filters: 0, programId: 0, counters: [] };
    const attached = hook.programs.get(program);
    const counters = attached === undefined ? [] : [{ name: 'ipip_4in4', help: 'IPv4 in IPv4', packets: 3n, bytes: 300n }];
    return { hook: hook.kind, filters: hook.programs.size + hook.foreignFilters, programId: attached?.id ?? 0, counters };
  }

  detachIngress(name: string, program: NativeIngressProgram): void {
    this.#require(name);
    this.hooks.get(name)?.programs.delete(program);
  }

  makeIngressHook(name: string): boolean {
    this.#require(name);
    if (this.hooks.has(name)) return false;
    this.hooks.set(name, { kind: 'clsact', programs: new Map(), foreignFilters: 0 });
    return true;
  }

  removeIngressHook(name: string): void {
    this.#require(name);
    this.hooks.delete(name);
  }

  #attach(program: NativeIngressProgram, config: NativeDecapsulation | NativeL3dsr): number {
    this.#require(config.interface);
    const { refusal } = this;
    this.refusal = undefined;
    if (refusal !== undefined) throw refusal;
    const hook = this.hooks.get(config.interface);
    if (hook === undefined) throw new Error(`${config.interface} has no hook`);
    this.#lastId += 1;
    hook.programs.set(program, { id: this.#lastId, config });
    return this.#lastId;
  }

  #require(name: string): void {
    if (this.interfaces.includes(name)) return;
    throw Object.assign(new Error(`no interface ${name}`), { code: 'MILLRACE_E_INTERFACE_NOT_FOUND' });
  }
}
