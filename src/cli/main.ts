#!/usr/bin/env node
// The executable `millrace`; under the name of ipvsadm (a symlink) it is `millrace ipvsadm`. The exit code is set and not forced, so that output still in a pipe is written.
// Thread: main.
import { runCli, wordsOf } from './program.js';

process.exitCode = await runCli(wordsOf(process.argv));
