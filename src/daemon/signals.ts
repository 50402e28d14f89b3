// Turns the signals of the operating system into what the daemon does: HUP reloads, TERM drains and stops, INT stops.
// Guarantees: between `listen` and disposal no such signal ends the process by default; disposal restores the default.
// Thread: main.

/** The part of `process` that is used; a parameter so that tests need not send signals to themselves. */
export interface SignalSource {
  on(signal: NodeJS.Signals, listener: () => void): unknown;
  off(signal: NodeJS.Signals, listener: () => void): unknown;
}

export interface SignalActions {
  readonly reload: () => void;
  /** First TERM or INT. */
  readonly stop: (signal: NodeJS.Signals) => void;
  /** Every further TERM or INT. */
  readonly stopSooner: (signal: NodeJS.Signals) => void;
}

/** Listens until the returned function is called. */
export function listenToSignals(source: SignalSource, actions: SignalActions): () => void {
  let stopping = false;
  const onStop = (signal: NodeJS.Signals) => (): void => {
    if (stopping) actions.stopSooner(signal);
    else {
      stopping = true;
      actions.stop(signal);
    }
  };
  const listeners = [
    ['SIGHUP', actions.reload],
    ['SIGTERM', onStop('SIGTERM')],
    ['SIGINT', onStop('SIGINT')],
  ] as const;
  for (const [signal, listener] of listeners) source.on(signal, listener);
  return () => {
    for (const [signal, listener] of listeners) source.off(signal, listener);
  };
}
