// The catalogue of everything that can go wrong outside the packet path, and the classes that carry it.
// Guarantees: every error has a stable code (MILLRACE_E_*), says what was found and how to get further, and is recognised by
// instanceof even when two copies of this module are loaded (identity by Symbol.for). docs/reference/errors.md is generated from here.
// Thread: any JavaScript thread; no state.
import { getSystemErrorName } from 'node:util';

/** What an error is about; decides its class and the exit code of the command line. */
export type ErrorKind = 'configuration' | 'input' | 'usage' | 'host' | 'interface' | 'native-load' | 'runtime' | 'daemon';

interface CatalogueEntry {
  readonly kind: ErrorKind;
  readonly meaning: string;
  readonly remedy: string;
}

/** Code -> what it means and what to do. The part after MILLRACE_E_ is the native code in capitals where the addon raises it. */
export const ERROR_CATALOGUE = {
  MILLRACE_E_CONFIG_INVALID: {
    kind: 'configuration',
    meaning: 'The configuration breaks a rule. `problems` lists every place, with line, column, reason and remedy.',
    remedy: 'Correct the places listed; `millrace check FILE` shows them again.',
  },
  MILLRACE_E_CONFIG_UNREADABLE: {
    kind: 'configuration',
    meaning: 'The configuration file cannot be read.',
    remedy: 'Check the path and the permissions of the file.',
  },
  MILLRACE_E_LIMIT_EXCEEDED: {
    kind: 'configuration',
    meaning: 'The configuration is larger than a fixed limit of the dataplane (services, servers, local addresses, routes).',
    remedy: 'Reduce the number named in the message, or split the configuration over several instances.',
  },
  MILLRACE_E_PACKET_MEMORY_INVALID: {
    kind: 'configuration',
    meaning: 'The sizes given for packet memory do not fit together.',
    remedy: 'Leave frameSize on auto and framesPerWorker at its default, or correct the value named in the message.',
  },
  MILLRACE_E_LOCAL_PORTS_INVALID: {
    kind: 'configuration',
    meaning: 'The range of local ports cannot be used.',
    remedy: 'Correct localPorts: two ports from 1 to 65535, the lower one first.',
  },
  MILLRACE_E_SESSION_TABLE_INVALID: {
    kind: 'configuration',
    meaning: 'The number of sessions per worker is outside what the table can hold.',
    remedy: 'Correct sessions.maxPerWorker.',
  },
  MILLRACE_E_CHANGE_NEEDS_RESTART: {
    kind: 'configuration',
    meaning: 'The new configuration changes something that is fixed while a dataplane runs (workers, interfaces, packet memory).',
    remedy: 'Keep the old value, or stop the load balancer and start it with the new configuration.',
  },
  MILLRACE_E_VERSION_CONFLICT: {
    kind: 'input',
    meaning: 'The configuration has changed since the version that a change was made for.',
    remedy: 'Read it again, make the change again, and send it with the new version.',
  },
  MILLRACE_E_REQUEST_INVALID: {
    kind: 'input',
    meaning: 'A request to the API is not well-formed: its path, query, headers or body.',
    remedy: 'Compare it with /api/v1/openapi.json; `problems` lists what is wrong, where it is known.',
  },
  MILLRACE_E_REQUEST_TOO_LARGE: {
    kind: 'input',
    meaning: 'A request to the API, or one of its headers, is larger than the API takes.',
    remedy: 'Send less at a time; a whole configuration belongs into the file.',
  },
  MILLRACE_E_NOT_FOUND: {
    kind: 'input',
    meaning: 'What a request to the API names is not there.',
    remedy: 'See the message; GET /api/v1/services lists services and servers, /api/v1/openapi.json the paths.',
  },
  MILLRACE_E_NOT_AUTHENTICATED: {
    kind: 'input',
    meaning: 'A request to the API over TCP has neither the token nor a client certificate.',
    remedy:
      'Send `Authorization: Bearer TOKEN` with the token of api.tcp.tokenFile, or a certificate of an authority of api.tcp.clientCa.',
  },
  MILLRACE_E_NOT_ALLOWED: {
    kind: 'input',
    meaning: 'A request to the API over TCP has a client certificate that is not accepted.',
    remedy: 'Use a valid certificate of an authority of api.tcp.clientCa.',
  },
  MILLRACE_E_STATE_INVALID: {
    kind: 'input',
    meaning: 'The file with the changes of the API is damaged, of another program or version, or was changed by another process.',
    remedy:
      'Put back a copy of it, or move it away: the configuration file alone holds then. It is never overwritten in this state.',
  },
  MILLRACE_E_PCAP_INVALID: {
    kind: 'input',
    meaning: 'A capture file is not a classic pcap file with Ethernet frames, or is cut off.',
    remedy: 'Convert it first: `editcap -F pcap in.pcapng out.pcap`.',
  },
  MILLRACE_E_INPUT_INVALID: {
    kind: 'input',
    meaning: 'An input other than the configuration cannot be used.',
    remedy: 'See the message for the input and the reason.',
  },
  MILLRACE_E_USAGE: {
    kind: 'usage',
    meaning: 'A command, an option or an argument is not known or is missing.',
    remedy: 'See `millrace --help` or `millrace COMMAND --help`.',
  },
  MILLRACE_E_UNSUPPORTED_HOST: {
    kind: 'host',
    meaning: 'This operating system, kernel or architecture cannot run the dataplane.',
    remedy: 'Use Linux 5.10 or newer on x86-64 or arm64; `millrace doctor` lists what is missing.',
  },
  MILLRACE_E_XDP_UNSUPPORTED: {
    kind: 'host',
    meaning: 'The kernel refuses to load or attach an XDP program.',
    remedy: 'Use a kernel with CONFIG_BPF_SYSCALL; `millrace doctor` shows what the kernel answered.',
  },
  MILLRACE_E_BPF_UNSUPPORTED: {
    kind: 'host',
    meaning: "The kernel refuses to load a BPF program or to attach it at tc's ingress hook.",
    remedy: 'Use Linux 5.10 or newer with CONFIG_BPF_SYSCALL, CONFIG_NET_CLS_BPF and CONFIG_NET_SCH_INGRESS.',
  },
  MILLRACE_E_AF_XDP_UNSUPPORTED: {
    kind: 'host',
    meaning: 'The kernel has no AF_XDP sockets.',
    remedy: 'Use a kernel with CONFIG_XDP_SOCKETS=y.',
  },
  MILLRACE_E_PERMISSION_DENIED: {
    kind: 'host',
    meaning: 'The process lacks a privilege that the dataplane needs.',
    remedy: 'Run as root, or give the process CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF, CAP_PERFMON and CAP_IPC_LOCK.',
  },
  MILLRACE_E_MEMLOCK_TOO_SMALL: {
    kind: 'host',
    meaning: 'The limit on locked memory is smaller than packet memory.',
    remedy: 'Raise it (`ulimit -l unlimited`, LimitMEMLOCK=infinity in a systemd unit), or give the process CAP_IPC_LOCK.',
  },
  MILLRACE_E_PACKET_MEMORY_UNAVAILABLE: {
    kind: 'host',
    meaning: 'Packet memory cannot be allocated.',
    remedy: 'Free memory, reserve huge pages, or lower framesPerWorker.',
  },
  MILLRACE_E_SESSION_TABLE_MEMORY: {
    kind: 'host',
    meaning: 'Memory for the session tables cannot be reserved.',
    remedy: 'Lower sessions.maxPerWorker or workers, or give the process more address space.',
  },
  MILLRACE_E_INTERFACE_NOT_FOUND: {
    kind: 'interface',
    meaning: 'A configured interface does not exist in the network namespace of the process.',
    remedy: 'Compare the names with `ip link`; start Millrace in the namespace that holds the interface.',
  },
  MILLRACE_E_INTERFACE_MISSING: {
    kind: 'interface',
    meaning: 'An interface went away while the load balancer started.',
    remedy: 'Start again once the interface is back; `ip monitor link` shows what removes it.',
  },
  MILLRACE_E_INTERFACE_BUSY: {
    kind: 'interface',
    meaning: 'Another Millrace uses the interface; the message names its process.',
    remedy: 'Stop the other process, or give this one a different interface.',
  },
  MILLRACE_E_INTERFACE_HAS_XDP: {
    kind: 'interface',
    meaning: 'An XDP program of somebody else is attached to the interface.',
    remedy: 'Find it with `bpftool net show`, and detach it with `ip link set dev NAME xdp off` if it may go.',
  },
  MILLRACE_E_INTERFACE_IS_BOND: {
    kind: 'interface',
    meaning: 'The interface is a bond; AF_XDP needs the queues of a real device.',
    remedy: 'Use the interfaces below the bond without the bond.',
  },
  MILLRACE_E_INTERFACE_IS_MEMBER: {
    kind: 'interface',
    meaning: 'The interface is a member of a bond, bridge or team, which would lose its traffic.',
    remedy: 'Take it out with `ip link set dev NAME nomaster`, or choose another interface.',
  },
  MILLRACE_E_INTERFACE_MTU_TOO_LARGE: {
    kind: 'interface',
    meaning: 'A packet of the size of the MTU does not fit in one frame.',
    remedy: 'Lower the MTU of the interface, or set frameSize to 4096 (MTU up to 3818; most drivers stop near 3500 with XDP).',
  },
  MILLRACE_E_INTERFACE_DOWN: {
    kind: 'interface',
    meaning: 'The interface is administratively down.',
    remedy: 'Bring it up: `ip link set dev NAME up`.',
  },
  MILLRACE_E_INTERFACE_QUEUES_TOO_FEW: {
    kind: 'interface',
    meaning: 'The interface has fewer receive queues than there are workers.',
    remedy: 'Lower `workers`, or raise the queues: `ethtool -L NAME combined N`.',
  },
  MILLRACE_E_INTERFACE_QUEUES_TOO_MANY: {
    kind: 'interface',
    meaning: 'The interface has more receive queues than there are workers, so some queues would have no reader.',
    remedy: 'Raise `workers`, or lower the queues: `ethtool -L NAME combined N`.',
  },
  MILLRACE_E_ZERO_COPY_UNAVAILABLE: {
    kind: 'interface',
    meaning: 'zeroCopy is required, but the driver does not offer it.',
    remedy: 'Set zeroCopy to auto, or use a network card whose driver has it.',
  },
  MILLRACE_E_ADDRESS_ON_KERNEL: {
    kind: 'interface',
    meaning: 'A VIP or a local address is also configured on a kernel interface; both would answer for it.',
    remedy: 'Remove it from the interface: `ip address del ADDRESS dev NAME`.',
  },
  MILLRACE_E_NATIVE_MISSING: {
    kind: 'native-load',
    meaning: 'The native addon is not there for this platform.',
    remedy: 'Build it with `npm run build:native`.',
  },
  MILLRACE_E_NATIVE_LOAD_FAILED: {
    kind: 'native-load',
    meaning: 'The native addon is there but does not load.',
    remedy: 'Install the shared library named in the message, or build the addon again on this host: `npm run build:native`.',
  },
  MILLRACE_E_NATIVE_ABI_MISMATCH: {
    kind: 'native-load',
    meaning: 'The native addon belongs to another version of Millrace.',
    remedy: 'Build it again: `npm run build:native`.',
  },
  MILLRACE_E_NETLINK_UNAVAILABLE: {
    kind: 'host',
    meaning: 'No netlink socket can be opened, or the state of links, addresses, routes and neighbours cannot be read.',
    remedy: 'Give the process CAP_NET_ADMIN, and allow AF_NETLINK sockets where a sandbox filters them.',
  },
  MILLRACE_E_PACKET_SOCKET_UNAVAILABLE: {
    kind: 'host',
    meaning: 'No packet socket can be opened; ARP and neighbour discovery for the addresses of Millrace need one per interface.',
    remedy: 'Give the process CAP_NET_RAW, and allow AF_PACKET sockets where a sandbox filters them.',
  },
  MILLRACE_E_NETLINK_FAILED: {
    kind: 'runtime',
    meaning: 'The kernel refused a request about links, addresses, routes or neighbours.',
    remedy: 'See the errno in the message; CAP_NET_ADMIN is needed.',
  },
  MILLRACE_E_STATE_UNWRITABLE: {
    kind: 'runtime',
    meaning: 'The file with the changes of the API cannot be written, so that the change was not made.',
    remedy:
      'Give the file system room, or the process the right to write into the directory of the file, and make the change again.',
  },
  MILLRACE_E_UNKNOWN_SERVICE: {
    kind: 'runtime',
    meaning: 'The dataplane was to change a service that is not part of the configuration in force.',
    remedy: 'Apply the whole configuration again, as SIGHUP does.',
  },
  MILLRACE_E_NOT_RUNNING: {
    kind: 'runtime',
    meaning: 'The operation needs a running load balancer; this one has not been started or was closed.',
    remedy: 'Call it between creation and close().',
  },
  MILLRACE_E_API_BUSY: {
    kind: 'runtime',
    meaning: 'The API has as many connections or readers of events as it takes.',
    remedy: 'Close some, and try again.',
  },
  MILLRACE_E_API_SOCKET_IN_USE: {
    kind: 'runtime',
    meaning: 'Another process serves the socket or the port of the API.',
    remedy: 'Stop the other process, or give this one another place under api in the configuration.',
  },
  MILLRACE_E_API_UNAVAILABLE: {
    kind: 'runtime',
    meaning: 'The API cannot be served where the configuration says: a file, a group, an address or a permission is missing.',
    remedy: 'Correct what the message names under api in the configuration, or on this host.',
  },
  MILLRACE_E_INTERNAL: {
    kind: 'runtime',
    meaning: 'A request to the API met a mistake in Millrace itself.',
    remedy: 'Please report it with the message and the line of the log.',
  },
  MILLRACE_E_CHECK_SOCKET_UNAVAILABLE: {
    kind: 'runtime',
    meaning: 'A health check cannot have the socket that it needs; the message says what the kernel refused.',
    remedy: 'Correct bindAddress, bindInterface or mark of the check, or give the process CAP_NET_ADMIN and CAP_NET_RAW.',
  },
  MILLRACE_E_NOTIFY_SOCKET_UNAVAILABLE: {
    kind: 'runtime',
    meaning: 'The service manager named a socket in NOTIFY_SOCKET that does not take messages.',
    remedy: 'Check NotifyAccess and Type of the unit; started by hand, unset NOTIFY_SOCKET.',
  },
  MILLRACE_E_LOG_DESTINATION: {
    kind: 'runtime',
    meaning: 'The destination of `logs` cannot be opened; the message has the path and what the system said.',
    remedy: 'Make the directory, give the process the right to write there, or correct logs.file.',
  },
  MILLRACE_E_LOGS_IN_USE: {
    kind: 'runtime',
    meaning: 'The logs of this load balancer are being read already; they have one reader at a time.',
    remedy: 'Stop the other LogDrain first.',
  },
  MILLRACE_E_COMMAND_FAILED: {
    kind: 'runtime',
    meaning: 'A program that Millrace started (ip, ethtool, nginx and the like in the lab) failed.',
    remedy: 'The message has the command and what it printed.',
  },
  MILLRACE_E_NATIVE_FAILED: {
    kind: 'runtime',
    meaning: 'The native addon reported an error that this version of the catalogue does not list.',
    remedy: 'See the message; please report it with the output of `millrace doctor`.',
  },
  MILLRACE_E_NO_DAEMON: {
    kind: 'daemon',
    meaning:
      'No daemon answers where the command line asks: nothing listens there, access is refused, or TLS cannot be agreed on.',
    remedy: 'Start one (`millrace run -c FILE`), or say where it listens with --socket PATH or --url URL.',
  },
  MILLRACE_E_API_ANSWER: {
    kind: 'daemon',
    meaning: 'What answered is no Millrace daemon, or one of another version: the answer is not what the API promises.',
    remedy: 'Check --socket or --url, and compare `millrace version` with the version of the daemon.',
  },
} as const satisfies Readonly<Record<string, CatalogueEntry>>;

export type ErrorCode = keyof typeof ERROR_CATALOGUE;

/** One thing that is wrong in a configuration. Line and column count from 1; they are 0 when there is no text (a JavaScript object). */
export interface ConfigProblem {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  /** Where in the structure, e.g. `services[0].servers[1].weight`. */
  readonly path: string;
  readonly reason: string;
  readonly remedy: string;
  /** The line of the file, and how many of its characters from `column` on are meant; empty and 0 without text. */
  readonly source: string;
  readonly length: number;
}

export interface MillraceErrorOptions {
  readonly cause?: unknown;
  /** Replaces the catalogue's remedy by a more specific one. */
  readonly remedy?: string;
  /** Number of the system error, if a system call failed. */
  readonly errno?: number;
}

function brandOf(name: string): symbol {
  return Symbol.for(`millrace.error.${name}`);
}

/**
 * Base of all errors that Millrace raises on purpose.
 *
 * @example
 * ```ts
 * try {
 *   await run();
 * } catch (error) {
 *   if (error instanceof MillraceError) console.error(error.code, error.message, error.remedy);
 *   else throw error;
 * }
 * ```
 */
export class MillraceError extends Error {
  static readonly brand: symbol = brandOf('MillraceError');
  readonly code: ErrorCode;
  readonly kind: ErrorKind;
  /** What to do about it. */
  readonly remedy: string;
  /** Number of the failed system call's error, 0 if there was none. */
  readonly errno: number;

  constructor(code: ErrorCode, message: string, options: MillraceErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    const entry: CatalogueEntry = ERROR_CATALOGUE[code];
    this.code = code;
    this.kind = entry.kind;
    this.remedy = options.remedy ?? entry.remedy;
    this.errno = options.errno ?? 0;
    this.name = new.target.name;
    for (let type: unknown = new.target; typeof type === 'function' && type !== Error; type = Object.getPrototypeOf(type)) {
      const own: unknown = Object.getOwnPropertyDescriptor(type, 'brand')?.value;
      if (typeof own === 'symbol') Object.defineProperty(this, own, { value: true });
    }
  }

  static override [Symbol.hasInstance](value: unknown): boolean {
    // `this` is the class that stands right of instanceof: naming MillraceError instead would make every error one of every class.
    // biome-ignore-start lint/complexity/noThisInStatic: see above
    // A subclass made elsewhere has no brand of its own: the ordinary rule applies to it.
    if (!Object.hasOwn(this, 'brand')) return Function.prototype[Symbol.hasInstance].call(this, value);
    return typeof value === 'object' && value !== null && this.brand in value;
    // biome-ignore-end lint/complexity/noThisInStatic: see above
  }
}

/** The configuration is wrong or unreadable. */
export class ConfigurationError extends MillraceError {
  static override readonly brand: symbol = brandOf('ConfigurationError');
  /** Everything found, in the order of the file; empty when the file could not be read at all. */
  readonly problems: readonly ConfigProblem[];

  constructor(code: ErrorCode, message: string, problems: readonly ConfigProblem[] = [], options: MillraceErrorOptions = {}) {
    super(code, message, options);
    this.problems = problems;
  }
}

/** This host cannot run the dataplane. */
export class UnsupportedHostError extends MillraceError {
  static override readonly brand: symbol = brandOf('UnsupportedHostError');
}

/** A network interface is missing, taken or unsuitable. */
export class InterfaceError extends MillraceError {
  static override readonly brand: symbol = brandOf('InterfaceError');
}

/** The native addon is missing, broken or of another version. */
export class NativeLoadError extends MillraceError {
  static override readonly brand: symbol = brandOf('NativeLoadError');
}

/** Makes the error of the class that belongs to the code's kind. */
export function createError(code: ErrorCode, message: string, options: MillraceErrorOptions = {}): MillraceError {
  switch (ERROR_CATALOGUE[code].kind) {
    case 'configuration':
      return new ConfigurationError(code, message, [], options);
    case 'host':
      return new UnsupportedHostError(code, message, options);
    case 'interface':
      return new InterfaceError(code, message, options);
    case 'native-load':
      return new NativeLoadError(code, message, options);
    default:
      return new MillraceError(code, message, options);
  }
}

function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(ERROR_CATALOGUE, code);
}

/**
 * Turns what the addon throws or rejects with (`{code: 'interface_busy', message, errno}`) into an error of the catalogue.
 * Anything else comes back unchanged, so that a programming error keeps its stack.
 */
export function fromNativeError(error: unknown): unknown {
  if (error instanceof MillraceError || typeof error !== 'object' || error === null) return error;
  const code: unknown = Reflect.get(error, 'code');
  if (typeof code !== 'string' || !/^[a-z][a-z0-9_]*$/.test(code)) return error;
  const text: unknown = Reflect.get(error, 'message');
  const number: unknown = Reflect.get(error, 'errno');
  const errno = typeof number === 'number' ? Math.abs(number) : 0;
  const suffix = errno === 0 ? '' : ` (${systemErrorName(errno)})`;
  const message = `${typeof text === 'string' && text !== '' ? text : code}${suffix}`;
  const known = `MILLRACE_E_${code.toUpperCase()}`;
  if (isErrorCode(known)) return createError(known, message, { cause: error, errno });
  return createError('MILLRACE_E_NATIVE_FAILED', `${code}: ${message}`, { cause: error, errno });
}

function systemErrorName(errno: number): string {
  try {
    return getSystemErrorName(-errno);
  } catch {
    return `errno ${errno}`;
  }
}
