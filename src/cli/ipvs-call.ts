// Sends a command line of ipvsadm to the running daemon and takes its answer back.
// Guarantees: one request, one answer; whatever goes wrong is told in the words in which ipvsadm says that it cannot reach IPVS, with its
// status 2.
// Thread: main.
import { request } from 'node:http';

/** As the API answers it. */
export interface IpvsadmAnswer {
  readonly stdout: string;
  readonly stderr: string;
  readonly exitCode: number;
}

const DEFAULT_SOCKET = '/run/millrace/api.sock';
/** Status of ipvsadm when it cannot reach its table. */
const UNREACHABLE = 2;

function failed(reason: string, remedy: string): IpvsadmAnswer {
  return { stdout: '', stderr: `Can't initialize ipvs: ${reason}\n${remedy}\n`, exitCode: UNREACHABLE };
}

function describeFailure(error: NodeJS.ErrnoException, socket: string): IpvsadmAnswer {
  if (error.code === 'EACCES' || error.code === 'EPERM') {
    return failed(`access to ${socket} is refused`, 'Run as root, or as a member of the group that the socket belongs to.');
  }
  const why = error.code === 'ENOENT' || error.code === 'ECONNREFUSED' ? '' : ` (${error.message})`;
  return failed(`no daemon answers on ${socket}${why}`, 'Start it (`millrace run`), or name its socket in MILLRACE_SOCKET.');
}

/** What an answer of the API means: that of ipvsadm, or an error of the API itself. */
function answerOf(status: number, body: string): IpvsadmAnswer {
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch {
    value = undefined;
  }
  const found = (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>;
  const { stdout, stderr, exitCode, error } = found;
  if (status === 200 && typeof stdout === 'string' && typeof stderr === 'string' && typeof exitCode === 'number') {
    return { stdout, stderr, exitCode };
  }
  const { message, remedy } = (typeof error === 'object' && error !== null ? error : {}) as Record<string, unknown>;
  return failed(
    typeof message === 'string' ? message : `the daemon answers with HTTP ${status} and no result`,
    typeof remedy === 'string' ? remedy : 'Compare `millrace version` with the version of the daemon.',
  );
}

/** Asks the daemon behind MILLRACE_SOCKET, else /run/millrace/api.sock. Never rejects. `stdin` is what -R reads. */
export function callDoor(
  argv: readonly string[],
  stdin: string | undefined,
  environment: NodeJS.ProcessEnv = process.env,
): Promise<IpvsadmAnswer> {
  const socket = environment['MILLRACE_SOCKET'] || DEFAULT_SOCKET;
  const body = JSON.stringify({ arguments: argv, ...(stdin === undefined ? {} : { stdin }) });
  const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
  return new Promise((resolve) => {
    const sent = request({ socketPath: socket, path: '/api/v1/ipvsadm', method: 'POST', headers }, (response) => {
      const parts: Buffer[] = [];
      response.on('data', (part: Buffer) => parts.push(part));
      response.on('end', () => resolve(answerOf(response.statusCode ?? 0, Buffer.concat(parts).toString())));
      response.on('error', (error) => resolve(describeFailure(error, socket)));
    });
    sent.on('error', (error) => resolve(describeFailure(error, socket)));
    sent.end(body);
  });
}

/** Prints an answer and returns its status. */
export function printAnswer({ stdout, stderr, exitCode }: IpvsadmAnswer): number {
  if (stdout !== '') process.stdout.write(stdout);
  if (stderr !== '') process.stderr.write(stderr);
  return exitCode;
}
