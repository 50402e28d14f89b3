// Reads the recordings of a live IPVS in test/ipvsadm/recordings: commands with the bytes they printed and their exit status.
// Guarantees: takes output by the recorded number of bytes and throws where a file does not have that form, so that no block is lost.
// Thread: any.
import { readFileSync } from 'node:fs';

export interface Block {
  readonly file: string;
  /** Line of the command in the file. */
  readonly line: number;
  /** The shell's command line. */
  readonly command: string;
  /** Undefined for files that were shown (`### bytes=`). */
  readonly exitCode: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
  /** Comment lines before the command, the last one last. */
  readonly section: string;
  /** What stands between this block and the next: notes of the recording. */
  readonly after: string;
}

class Cursor {
  line = 1;
  readonly #text: string;
  readonly #file: string;
  #at = 0;

  constructor(text: string, file: string) {
    this.#text = text;
    this.#file = file;
  }

  get ended(): boolean {
    return this.#at >= this.#text.length;
  }

  get where(): string {
    return `${this.#file}:${this.line}`;
  }

  take(length: number): string {
    const taken = this.#text.slice(this.#at, this.#at + length);
    this.#at += length;
    this.line += taken.split('\n').length - 1;
    return taken;
  }

  takeLine(): string {
    const end = this.#text.indexOf('\n', this.#at);
    return this.take((end === -1 ? this.#text.length : end + 1) - this.#at).replace(/\n$/, '');
  }

  expect(line: string): void {
    const { where } = this;
    const found = this.takeLine();
    if (found !== line) throw new Error(`${where}: "${line}" expected, "${found}" found`);
  }
}

interface Header {
  readonly exitCode: number | undefined;
  readonly stdoutBytes: number;
  readonly stderrBytes: number;
}

function headerOf(cursor: Cursor): Header {
  const { where } = cursor;
  const line = cursor.takeLine();
  const run = /^### rc=([0-9]+) stdout=([0-9]+) stderr=([0-9]+)$/.exec(line);
  if (run !== null) return { exitCode: Number(run[1]), stdoutBytes: Number(run[2]), stderrBytes: Number(run[3]) };
  const shown = /^### bytes=([0-9]+)$/.exec(line);
  if (shown === null) throw new Error(`${where}: "### rc=" or "### bytes=" expected, "${line}" found`);
  return { exitCode: undefined, stdoutBytes: Number(shown[1]), stderrBytes: 0 };
}

/** All blocks of a recording. The files are ASCII, so bytes are characters. */
export function readRecording(file: string): Block[] {
  const cursor = new Cursor(readFileSync(new URL(`recordings/${file}`, import.meta.url), 'latin1'), file);
  const blocks: Block[] = [];
  let [section, after] = ['', ''];
  const closeLast = () => {
    const last = blocks.at(-1);
    if (last !== undefined) blocks[blocks.length - 1] = { ...last, after };
    after = '';
  };
  while (!cursor.ended) {
    const { line } = cursor;
    const text = cursor.takeLine();
    if (text.startsWith('# ')) section = text.slice(2);
    if (!text.startsWith('### $ ')) {
      after += `${text}\n`;
      continue;
    }
    closeLast();
    const { exitCode, stdoutBytes, stderrBytes } = headerOf(cursor);
    const stdout = cursor.take(stdoutBytes);
    if (stderrBytes > 0) cursor.expect('### stderr');
    const stderr = cursor.take(stderrBytes);
    cursor.expect('### end');
    blocks.push({ file, line, command: text.slice('### $ '.length), exitCode, stdout, stderr, section, after: '' });
  }
  closeLast();
  return blocks;
}

/** How a recorded command line is to be run. */
export interface Invocation {
  /** Words after `ipvsadm`. */
  readonly argv: readonly string[];
  /** Run by a user who may not. */
  readonly unprivileged: boolean;
  /** Standard output was closed (`>&-`). */
  readonly closedStdout: boolean;
}

/** Takes a command line apart as the shell did; undefined when it does not run ipvsadm in the recorded director. */
export function invocationOf(command: string): Invocation | undefined {
  const start = /^(?:python3 -c "[^"]*os\.setuid[^"]*" )?ipvsadm(?= |$)/.exec(command);
  if (start === null) return undefined;
  const words: readonly string[] = command.slice(start[0].length).match(/"[^"]*"|[^ "]+/g) ?? [];
  const isPlumbing = (word: string) => ['>&-', '</dev/null', '|', 'cat'].includes(word);
  return {
    argv: words.filter((word) => !isPlumbing(word)).map((word) => word.replace(/^"(.*)"$/, '$1')),
    unprivileged: start[0].startsWith('python3'),
    closedStdout: words.includes('>&-'),
  };
}
