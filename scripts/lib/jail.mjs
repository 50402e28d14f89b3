// Runs a program so that the kernel itself cleans up after it: namespaces for mounts, processes and network, and a private /run for
// the names of network namespaces and all files. When the program ends, however it ends, or when this process dies, every process
// inside is killed, and with the last one all interfaces, names and files are gone.
// Plain Node: nothing from node_modules. Guarantees: nothing inside is visible or left outside; resolves with the exit code.
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';

// util-linux: --kill-child makes the kernel kill the inner process 1 with unshare, and setpriv makes it kill unshare with us.
const enter = ['--pdeathsig', 'KILL', 'unshare', '--mount', '--net', '--pid', '--fork', '--kill-child=KILL', '--mount-proc'];
const inside = 'mount -t tmpfs -o mode=755 tmpfs /run && mkdir /run/netns /run/lock && ip link set dev lo up && exec "$@"';
const graceMilliseconds = 10_000;
const repeatMilliseconds = 1_000;

/** Set inside: commands that would leave things behind elsewhere look for it. */
export const jailVariable = 'MILLRACE_JAIL';

export function runInJail(argv, env = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn('setpriv', [...enter, 'sh', '-c', inside, 'jail', ...argv], {
      stdio: 'inherit',
      env: { ...process.env, ...env, [jailVariable]: '1' },
    });
    // unshare ignores these itself: the program inside gets them and may end in good order; if it does not, it is killed.
    // Again and again, because process 1 of a namespace does not even see a signal before it has asked for it.
    let repeat;
    const forward = (signal) => {
      if (repeat !== undefined) return;
      const send = () => {
        for (const pid of childrenOf(child.pid)) tell(pid, signal);
      };
      send();
      repeat = setInterval(send, repeatMilliseconds);
      setTimeout(() => child.kill('SIGKILL'), graceMilliseconds).unref();
    };
    const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'];
    for (const signal of signals) process.on(signal, forward);
    const settle = (action) => {
      clearInterval(repeat);
      for (const signal of signals) process.off(signal, forward);
      action();
    };
    child.once('error', (error) => settle(() => reject(error)));
    child.once('exit', (code) => settle(() => resolve(code ?? 137)));
  });
}

function tell(pid, signal) {
  try {
    process.kill(pid, signal);
  } catch {
    // It ended after it was listed, which is all that the signal is for.
  }
}

function childrenOf(pid) {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number);
  } catch {
    return [];
  }
}
