// The one error class of the lab: a sentence about what was found and one about what to do.
// Guarantees: `message` alone is enough for a person; `remedy` is a command or an action, never empty.
// Thread: any; no state.
import { MillraceError } from '../errors.js';

/** Something the lab needs is missing, in the way, or did not come up in time. */
export class LabError extends MillraceError {
  constructor(message: string, remedy: string, options: { readonly cause?: unknown } = {}) {
    super('MILLRACE_E_COMMAND_FAILED', message, { ...options, remedy });
  }
}
