#!/usr/bin/env node
// The executable `millrace`. The exit code is set and not forced, so that output still in a pipe is written.
// Thread: main.
import { runCli } from './program.js';

process.exitCode = await runCli(process.argv.slice(2));
