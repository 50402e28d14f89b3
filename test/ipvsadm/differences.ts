// Every place where `millrace ipvsadm` is meant to differ from a recording, with the reason: of the command line and its table alone, and of
// it against a running balancer's configuration. All else is compared byte for byte; an entry that no longer differs fails its test.
// Guarantees: data only.
// Thread: any.

export interface Difference {
  readonly file: string;
  /** Line of the command in the file. */
  readonly line: number;
  readonly command: string;
  readonly reason: string;
  /** The stderr that is right here; status and stdout stay those of the recording. */
  readonly stderr: string;
}

const NO_MODULE = `Can't initialize ipvs: Protocol not available
Are you sure that IP Virtual Server is built in the kernel or as module?
`;
const MODPROBE = 'the line before it is of modprobe, which ipvsadm runs to load a kernel module; here there is none to load';

export const DIFFERENCES: readonly Difference[] = [
  { file: '04-errors.txt', line: 1531, command: 'ipvsadm -A -t 10.0.9.9:80', reason: MODPROBE, stderr: NO_MODULE },
  { file: '04-errors.txt', line: 1539, command: 'ipvsadm -Sn', reason: MODPROBE, stderr: NO_MODULE },
  { file: '04-errors.txt', line: 1547, command: 'ipvsadm -h', reason: MODPROBE, stderr: NO_MODULE },
];

/** Commands that a configuration answers otherwise. docs/ipvsadm.md tells operators. */
export interface DoorDifference {
  readonly commands: readonly string[];
  readonly reason: string;
  readonly exitCode: number;
  /** What stderr is instead. */
  readonly stderr: RegExp;
}

export const DOOR_DIFFERENCES: readonly DoorDifference[] = [
  {
    commands: ['ipvsadm -A -t 10.0.9.8:80 -s twos'],
    reason: 'a scheduler that Millrace has and Linux 6.1 has not',
    exitCode: 0,
    stderr: /^$/,
  },
  {
    commands: ['ipvsadm -A -t 10.0.9.8:80 -s rr --pe sip', 'ipvsadm -A -u 10.0.9.8:80 -s rr --pe sip -p 10'],
    reason: 'there are no persistence engines',
    exitCode: 255,
    stderr: /^Scheduler or persistence engine not found\n$/,
  },
  {
    commands: [
      'ipvsadm --start-daemon master',
      'ipvsadm --start-daemon master --mcast-interface nosuch',
      'ipvsadm --start-daemon master --mcast-interface dr --syncid 1',
      'ipvsadm --start-daemon master --mcast-interface averyveryverylonginterfacename',
    ],
    reason: 'there is no synchronisation of connections',
    exitCode: 255,
    stderr: /^millrace: there is no synchronisation of connections: .*\n$/,
  },
  {
    commands: ['ipvsadm --stop-daemon master'],
    reason: 'none has been started, so none can be stopped',
    exitCode: 255,
    stderr: /^No daemon is running\n$/,
  },
  {
    commands: ['ipvsadm -A -f 4294967295', 'ipvsadm -A -f 7 -6 -6', 'ipvsadm -A -f 9 -o'],
    reason: 'packets carry no marks: a mark is a list of matches in the configuration',
    exitCode: 255,
    stderr: /^millrace: mark [0-9]+ is not defined, .*\n$/,
  },
  {
    commands: ['ipvsadm -a -t 10.0.9.1:80 -r 10.0.2.12:80 -m -w 2147483647'],
    reason: 'weights end at 65535',
    exitCode: 255,
    stderr: /^millrace: services\[0\]\.servers\[1\]\.weight: .*\n$/,
  },
  {
    commands: ['ipvsadm -a -t 10.0.9.1:80 -r 10.0.2.12:0 -m'],
    reason: 'a server of a service with a port has one, too',
    exitCode: 255,
    stderr: /^millrace: services\[0\]\.servers\[1\]\.port: .*\n$/,
  },
  {
    commands: [
      'ipvsadm -A -t 0.0.0.0:80',
      'ipvsadm -A -t 127.0.0.1:80',
      'ipvsadm -a -t 10.0.9.1:80 -r 127.0.0.1:80 -m',
      'ipvsadm -a -t [fd00:9::1]:80 -r [::1]:80 -m',
    ],
    reason: 'no packet from a wire can have such an address',
    exitCode: 255,
    stderr: /^millrace: services\[[0-9]\]\..*address: .* (an unspecified|a loopback) address; .*\n$/,
  },
  {
    commands: ['ipvsadm -A -t 10.0.9.8:80 -p 10 -M 0.0.0.0'],
    reason: 'persistence goes by prefixes of one bit at least',
    exitCode: 255,
    stderr: /^millrace: a mask of no bits .*\n$/,
  },
  {
    commands: ['ipvsadm -A -t 10.0.9.8:80 -s rr -b flag-1,flag-2,flag-3'],
    reason: 'flags that mean nothing to their scheduler are refused and not kept',
    exitCode: 255,
    stderr: /^millrace: scheduler rr has no flag-1: .*\n$/,
  },
];
