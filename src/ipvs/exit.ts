// The way in which ipvsadm ends in the middle of its work: a message and an exit status.
// Guarantees: only src/ipvs/run.ts and restore.ts catch it, so it never leaves this folder.
// Thread: any.

/** Ends one run of ipvsadm; what was printed before stays printed. */
export class Exit extends Error {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;

  constructor(status: number, texts: { stdout?: string; stderr?: string }) {
    super(texts.stderr ?? texts.stdout ?? '');
    this.name = 'Exit';
    this.status = status;
    this.stdout = texts.stdout ?? '';
    this.stderr = texts.stderr ?? '';
  }
}

/** Ends with a line on stderr. */
export function fail(status: number, message: string): never {
  throw new Exit(status, { stderr: `${message}\n` });
}
