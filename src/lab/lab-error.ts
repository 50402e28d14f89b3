// The one error class of the lab: a sentence about what was found and one about what to do.
// Guarantees: `message` alone is enough for a person; `remedy` is a command or an action, never empty.
// Thread: any; no state.

/** Something the lab needs is missing, in the way, or did not come up in time. */
export class LabError extends Error {
  override readonly name = 'LabError';
  readonly code = 'MILLRACE_E_LAB';
  readonly remedy: string;

  constructor(message: string, remedy: string, options?: ErrorOptions) {
    super(message, options);
    this.remedy = remedy;
  }
}
