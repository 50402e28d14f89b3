// What ipvsadm says when the table refuses a change, and its exit status for that.
// Guarantees: data only; one text for every refusal of src/ipvs/table.ts.
// Thread: any.

/** Why the table refused something, under the kernel's names. */
export type Refusal = 'EEXIST' | 'ENOENT' | 'ESRCH' | 'EINVAL' | 'ERANGE' | 'ENODEV';

/** Why there is no table to work on. */
export type Unavailable = 'EPERM' | 'ENOPROTOOPT';

const GENERAL: Record<Refusal | Unavailable, string> = {
  EEXIST: 'File exists',
  ENOENT: 'No such file or directory',
  ESRCH: 'No such process',
  EINVAL: 'Invalid operation.  Possibly wrong module version, address not unicast, ...',
  ERANGE: 'Numerical result out of range',
  ENODEV: 'No such device',
  EPERM: 'Permission denied (you must be root)',
  ENOPROTOOPT: 'Protocol not available',
};

const NO_SCHEDULER = 'Scheduler or persistence engine not found';

const SPECIAL = {
  addService: { EEXIST: 'Service already exists', ENOENT: NO_SCHEDULER },
  editService: { ESRCH: 'No such service', ENOENT: NO_SCHEDULER },
  deleteService: { ESRCH: 'No such service' },
  zero: { ESRCH: 'No such service' },
  getService: { ESRCH: 'No such service' },
  addServer: { ESRCH: 'Service not defined', EEXIST: 'Destination already exists' },
  editServer: { ESRCH: 'Service not defined', ENOENT: 'No such destination' },
  deleteServer: { ESRCH: 'Service not defined', ENOENT: 'No such destination' },
  startDaemon: { EEXIST: 'Daemon has already run' },
  stopDaemon: { ESRCH: 'No daemon is running' },
  changeLocalAddress: { ESRCH: 'Service not defined' },
  changeAccessList: { ESRCH: 'Service not defined' },
  flush: {},
  setTimeouts: {},
} satisfies Record<string, Partial<Record<Refusal, string>>>;

/** What was asked of the table. */
export type Operation = keyof typeof SPECIAL;

/** The text of a refusal, which depends on what was asked. */
export function refusalText(operation: Operation, refusal: Refusal): string {
  const special: Partial<Record<Refusal, string>> = SPECIAL[operation];
  return special[refusal] ?? GENERAL[refusal];
}

/** What ipvsadm prints when it cannot reach a table at all; it ends with status 2 then. */
export function unavailableText(reason: Unavailable): string {
  return `Can't initialize ipvs: ${GENERAL[reason]}\nAre you sure that IP Virtual Server is built in the kernel or as module?`;
}
