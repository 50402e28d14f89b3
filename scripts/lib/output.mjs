// How the scripts talk: one line per step on standard error, so that standard output stays free for results (--json).
// Plain Node: nothing from node_modules. Guarantees: a Problem is shown without a stack, with its remedy, and ends with its exit code.

/** Something a person has to do something about: what was found and needed, and how to get it. */
export class Problem extends Error {
  constructor(message, remedy, exitCode = 3) {
    super(message);
    this.remedy = remedy;
    this.exitCode = exitCode;
  }
}

export function step(text) {
  process.stderr.write(`${text}\n`);
}

/** Runs `main` as the body of a script. */
export async function runScript(main) {
  try {
    process.exitCode = await main();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    process.stderr.write(`\n${error.message}\nRemedy: ${error.remedy}\n`);
    process.exitCode = error.exitCode;
  }
}
