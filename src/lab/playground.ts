// `millrace lab up` and its friends: the lab that stays, with names that `ip netns` shows, until `lab down`.
// Guarantees: never two at once; `down` removes a complete, a half-made and an already removed lab alike; a process is ended only if
// it runs inside the lab's namespaces or if its start time proves that it is the one that was recorded.
// Thread: the main thread.
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { basicRoles, type Role } from './addresses.js';
import { Lab } from './lab.js';
import { LabError } from './lab-error.js';
import { LabTopology } from './topology.js';

interface RecordedProcess {
  readonly name: string;
  readonly pid: number;
  /** Clock ticks since boot, from /proc/PID/stat: tells a process from a later one with the same id. */
  readonly startTime: string;
}

export interface PlaygroundState {
  readonly workers: number;
  readonly config: string;
  readonly processes: readonly RecordedProcess[];
}

export interface PlaygroundStatus {
  readonly namespaces: readonly string[];
  readonly state: PlaygroundState | undefined;
  /** Recorded processes that run no more. */
  readonly dead: readonly string[];
}

export const playgroundDirectory = '/run/millrace-lab';
const stateFile = join(playgroundDirectory, 'state.json');

export async function playgroundUp(workers: number): Promise<PlaygroundState> {
  requireRoot();
  const { namespaces } = playgroundStatus();
  if (namespaces.length > 0 || existsSync(playgroundDirectory)) {
    const found = namespaces.length > 0 ? `namespaces ${namespaces.join(', ')}` : playgroundDirectory;
    throw new LabError(`a lab is there already (${found})`, 'use it, or run "millrace lab down" first');
  }
  mkdirSync(playgroundDirectory, { mode: 0o755 });
  try {
    const lab = await Lab.start({ workers, directory: playgroundDirectory, detached: true });
    const config = lab.writeConfig();
    const processes = lab.servers.flatMap((server) =>
      server.processes.map((process, index) => record(`${server.role} ${['nginx', 'udp-echo', 'uploads'][index]}`, process.pid)),
    );
    const state = { workers, config, processes };
    writeFileSync(stateFile, `${JSON.stringify(state, null, 2)}\n`);
    return state;
  } catch (error) {
    await playgroundDown();
    throw error;
  }
}

/** Ends and removes everything; resolves with what was removed, an empty list if nothing was there. */
export async function playgroundDown(): Promise<string[]> {
  requireRoot();
  const topology = LabTopology.open({ queues: 1 });
  const { namespaces, state } = playgroundStatus();
  const recorded = (state?.processes ?? []).filter(isAlive).map((process) => process.pid);
  await endProcesses([...new Set([...recorded, ...(await topology.processes())])]);
  await topology[Symbol.asyncDispose]();
  const removed = namespaces.map((name) => `namespace ${name}`);
  if (existsSync(playgroundDirectory)) {
    rmSync(playgroundDirectory, { recursive: true, force: true });
    removed.push(playgroundDirectory);
  }
  return removed;
}

export function playgroundStatus(): PlaygroundStatus {
  const namespaces = LabTopology.open({ queues: 1 }).existing();
  const state = readState();
  const dead = (state?.processes ?? []).filter((process) => !isAlive(process)).map((process) => process.name);
  return { namespaces, state, dead };
}

/** Runs a program inside one of the lab's namespaces, on this terminal; resolves with its exit code. */
export function playgroundExec(role: Role, argv: readonly string[]): Promise<number> {
  requireRoot();
  const topology = LabTopology.open({ queues: 1 });
  if (!existsSync(`/run/netns/${topology.namespace(role)}`)) {
    throw new LabError(`there is no namespace ${topology.namespace(role)}`, 'run "millrace lab up" first');
  }
  const [file = '', ...args] = topology.argv(role, argv);
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { stdio: 'inherit' });
    // The terminal sends its signals to the program as well; this process waits for what it makes of them.
    const ignore = () => {};
    for (const signal of ['SIGINT', 'SIGQUIT'] as const) process.on(signal, ignore);
    child.once('error', reject);
    child.once('exit', (code, signal) => {
      for (const name of ['SIGINT', 'SIGQUIT'] as const) process.off(name, ignore);
      resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal]));
    });
  });
}

export function isRole(text: string): text is Role {
  return (basicRoles as readonly string[]).includes(text);
}

function requireRoot(): void {
  const user = process.getuid?.();
  if (user === 0) return;
  throw new LabError(
    `network namespaces need root; the user id is ${user ?? 'unknown'} on ${process.platform}`,
    'run the command with sudo, on Linux',
  );
}

function readState(): PlaygroundState | undefined {
  try {
    return JSON.parse(readFileSync(stateFile, 'utf8')) as PlaygroundState;
  } catch {
    // Missing or half-written: the namespaces themselves say what there is.
    return undefined;
  }
}

function startTimeOf(pid: number): string | undefined {
  try {
    // The name in parentheses may hold spaces; the fields after it may not. Start time is the 22nd of all (proc(5)).
    return readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ')[19];
  } catch {
    return undefined;
  }
}

function record(name: string, pid: number): RecordedProcess {
  return { name, pid, startTime: startTimeOf(pid) ?? '' };
}

function isAlive(process: RecordedProcess): boolean {
  return process.startTime !== '' && startTimeOf(process.pid) === process.startTime;
}

/** SIGTERM, then SIGKILL for those that are still there after two seconds. */
async function endProcesses(pids: readonly number[]): Promise<void> {
  const left = new Map(pids.filter((pid) => pid !== process.pid).map((pid) => [pid, startTimeOf(pid)]));
  const signalAll = (signal: NodeJS.Signals) => {
    for (const [pid, startTime] of left) {
      if (startTime === undefined || startTimeOf(pid) !== startTime || !send(pid, signal)) left.delete(pid);
    }
  };
  signalAll('SIGTERM');
  const insist = Date.now() + 2_000;
  const giveUp = insist + 2_000;
  while (left.size > 0 && Date.now() < giveUp) {
    // These are no children of this process: nothing but looking tells that they went.
    await new Promise((resolve) => setTimeout(resolve, 20));
    for (const [pid, startTime] of left) if (startTimeOf(pid) !== startTime || isZombie(pid)) left.delete(pid);
    if (Date.now() > insist) signalAll('SIGKILL');
  }
}

function isZombie(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.startsWith('Z') ?? true;
  } catch {
    return true;
  }
}

function send(pid: number, signal: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, signal);
  } catch {
    return false;
  }
}
