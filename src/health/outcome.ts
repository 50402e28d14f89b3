// What a check found, and the small tools by which checks of all kinds come to an end.
// Guarantees: a check ends exactly once, by its verdict or by its deadline; nothing of it stays open afterwards; a reason is one line of
// bounded length without control characters, whatever the server has sent: it goes to terminals, logs and environments of commands.
// Thread: a health worker.

/** The verdict of one check. */
export interface Outcome {
  readonly good: boolean;
  /** Why not, or what was seen; for people. */
  readonly reason: string;
  /** Weight that a script asks for. */
  readonly weight?: number;
}

/** Longest reason, characters. */
const LONGEST_REASON = 300;

function oneLine(text: string): string {
  return [...text.replaceAll(/\p{Cc}+/gu, ' ')].slice(0, LONGEST_REASON).join('').trim();
}

export function good(reason = 'ok', weight?: number): Outcome {
  return { good: true, reason: oneLine(reason), ...(weight === undefined ? {} : { weight }) };
}

export function bad(reason: string): Outcome {
  return { good: false, reason: oneLine(reason) };
}

/** "connection refused (ECONNREFUSED)" of an error of a socket. */
export function describeFailure(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const code: unknown = Reflect.get(error, 'code');
  const message = error.message.trim();
  const text = message === '' && error instanceof AggregateError ? String(error.errors[0]) : message;
  return typeof code === 'string' && !text.includes(code) ? `${text} (${code})` : text;
}

/** One end for whatever comes first; `close` is called once, before the promise resolves. */
export function untilVerdict(
  timeout: number,
  begin: (end: (outcome: Outcome) => void) => () => void,
  late: () => Outcome = () => bad(`no answer within ${timeout} ms`),
): Promise<Outcome> {
  return new Promise((resolve) => {
    let ended = false;
    let close: (() => void) | undefined;
    const end = (outcome: Outcome): void => {
      if (ended) return;
      ended = true;
      clearTimeout(timer);
      // `begin` may end before it has returned.
      close?.();
      resolve(outcome);
    };
    const timer = setTimeout(() => end(late()), timeout);
    try {
      const closer = begin(end);
      if (ended) closer();
      else close = closer;
    } catch (error) {
      end(bad(describeFailure(error)));
    }
  });
}
