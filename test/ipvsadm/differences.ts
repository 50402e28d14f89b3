// Every place where `millrace ipvsadm` is meant to differ from a recording, with the reason. replay.test.ts compares all else byte for
// byte, and fails when an entry here no longer differs.
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
