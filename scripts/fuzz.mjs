// Fuzzing: builds the libFuzzer targets of test/fuzz (clang-14, AddressSanitizer, UndefinedBehaviorSanitizer) and runs them for a while.
//   npm run fuzz -- parse 600        one target, 600 seconds
//   npm run fuzz -- all 5            every target, 5 seconds each
//   npm run fuzz -- parse collect    reduces what was found so far to a small corpus in test/fuzz/corpus
// Begins with test/fuzz/corpus, test/fuzz/regressions and the frames of the golden captures; new inputs collect in build/fuzz-corpus.
// An input that breaks a target is left in test/fuzz/regressions/<target>, where the normal test run replays it from then on.
// Exit code: 0 nothing broke, 1 something did, 2 usage.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const fuzzDirectory = join(root, 'test', 'fuzz');
const targets = readdirSync(fuzzDirectory)
  .filter((name) => name.endsWith('_fuzz.cc'))
  .map((name) => name.slice(0, -'_fuzz.cc'.length))
  .sort();

/** Most files that a target's corpus may have in the tree: it is replayed in every test run. */
const maxCorpusFiles = 60;
/** Bytes; longer inputs only make the fuzzer slow. */
const maxInput = {
  parse: 512,
  tcp_options: 64,
  pcap: 2048,
  neighbour: 128,
  pipeline: 1024,
  icmp: 512,
  quic: 64,
  outbound: 512,
  proxy: 1200,
  told: 1024,
};

const [wanted, what = '60'] = process.argv.slice(2);
if (wanted === undefined || (wanted !== 'all' && !targets.includes(wanted)) || !/^(collect|\d+)$/.test(what)) {
  process.stderr.write(`usage: npm run fuzz -- <${targets.join('|')}|all> <seconds|collect>\n`);
  process.exit(2);
}
const chosen = wanted === 'all' ? targets : [wanted];

function run(command, args, options = {}) {
  const result = spawnSync(command, args, { cwd: root, stdio: 'inherit', ...options });
  if (result.error) {
    process.stderr.write(`${command} cannot be run: ${result.error.message}\n`);
    process.exit(1);
  }
  return result.status ?? 1;
}

function build() {
  if (run('cmake', ['--preset', 'fuzz', '--log-level=WARNING']) !== 0) process.exit(1);
  const names = chosen.map((name) => `${name}_fuzz`);
  if (run('cmake', ['--build', '--preset', 'fuzz', '--parallel', '2', '--target', ...names]) !== 0) process.exit(1);
}

/** The packets of a little-endian nanosecond capture: the form that scripts/golden.mjs writes. */
function* framesOf(capture) {
  for (let at = 24; at + 16 <= capture.length; ) {
    const length = capture.readUInt32LE(at + 8);
    yield capture.subarray(at + 16, at + 16 + length);
    at += 16 + length;
  }
}

function goldenCaptures() {
  const cases = join(root, 'test', 'golden', 'cases');
  if (!existsSync(cases)) return [];
  return readdirSync(cases).map((name) => readFileSync(join(cases, name, 'in.pcap')));
}

/** What a target can make use of in the golden captures. */
function seedsFor(target) {
  const captures = goldenCaptures();
  if (target === 'pcap') return captures.filter((capture) => capture.length <= maxInput.pcap);
  const frames = captures.flatMap((capture) => [...framesOf(capture)]);
  if (target === 'parse') return frames.filter((frame) => frame.length <= maxInput.parse);
  if (target === 'neighbour') return frames.filter((frame) => frame.length <= maxInput.neighbour && isNeighbourFrame(frame));
  return [];
}

function isNeighbourFrame(frame) {
  const type = frame.length >= 14 ? frame.readUInt16BE(12) : 0;
  return type === 0x0806 || (type === 0x86dd && frame.length > 54 && frame[20] === 58 && frame[54] >= 133 && frame[54] <= 137);
}

function directoriesOf(target) {
  const found = join(root, 'build', 'fuzz-corpus', target);
  const corpus = join(fuzzDirectory, 'corpus', target);
  const regressions = join(fuzzDirectory, 'regressions', target);
  for (const directory of [found, corpus]) mkdirSync(directory, { recursive: true });
  for (const seed of seedsFor(target)) {
    const file = join(found, createHash('sha1').update(seed).digest('hex'));
    if (!existsSync(file)) writeFileSync(file, seed);
  }
  return { found, corpus, regressions };
}

function fuzz(target, seconds) {
  const { found, corpus, regressions } = directoriesOf(target);
  mkdirSync(regressions, { recursive: true });
  const before = readdirSync(regressions).length;
  process.stdout.write(`--- ${target}: ${seconds} s\n`);
  const status = run(
    join(root, 'build', 'fuzz', `${target}_fuzz`),
    [
      `-max_total_time=${seconds}`,
      `-max_len=${maxInput[target] ?? 1024}`,
      '-timeout=20',
      '-rss_limit_mb=4096',
      '-print_final_stats=1',
      '-print_funcs=0',
      '-verbosity=0',
      `-artifact_prefix=${regressions}/`,
      found,
      corpus,
      regressions,
    ],
    { env: { ...process.env, UBSAN_OPTIONS: 'print_stacktrace=1' } },
  );
  const broken = readdirSync(regressions).length - before;
  if (before + broken === 0) rmSync(regressions, { recursive: true });
  const state =
    status === 0 ? 'holds' : `BROKEN, ${broken} new input${broken === 1 ? '' : 's'} in test/fuzz/regressions/${target}`;
  process.stdout.write(`--- ${target}: ${state}\n`);
  return status === 0;
}

/** The smallest inputs that together reach what all found ones reach, at most so many. */
function collect(target) {
  const { found, corpus } = directoriesOf(target);
  const merged = join(root, 'build', 'fuzz-merged', target);
  rmSync(merged, { recursive: true, force: true });
  mkdirSync(merged, { recursive: true });
  const binary = join(root, 'build', 'fuzz', `${target}_fuzz`);
  if (run(binary, ['-merge=1', '-verbosity=0', `-max_len=${maxInput[target] ?? 1024}`, merged, corpus, found]) !== 0)
    return false;
  const bySize = readdirSync(merged).sort((a, b) => statSync(join(merged, a)).size - statSync(join(merged, b)).size);
  rmSync(corpus, { recursive: true, force: true });
  mkdirSync(corpus, { recursive: true });
  // Every n-th of the list sorted by size: small and large ones both.
  const step = Math.max(1, bySize.length / maxCorpusFiles);
  let kept = 0;
  for (let i = 0; i < bySize.length; i += step, kept++) {
    const name = bySize[Math.floor(i)];
    copyFileSync(join(merged, name), join(corpus, name));
  }
  process.stdout.write(`--- ${target}: ${kept} of ${bySize.length} inputs kept\n`);
  return true;
}

build();
const held = chosen.map((target) => (what === 'collect' ? collect(target) : fuzz(target, Number(what))));
process.exitCode = held.every(Boolean) ? 0 : 1;
