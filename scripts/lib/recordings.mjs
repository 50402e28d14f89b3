// Recordings of a live IPVS: those in the tree (test/native/schedulers/recordings) and the originals that they were taken from.
// Guarantees: pure. Used by scripts/test-schedulers.mjs and its test.

/** The sets of a file in the tree: scheduler, options and weights, and the servers in the order of the connections. */
export function readSets(text, file) {
  const sets = [];
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('#')) continue;
    const words = line.trim().split(' ');
    if (words[0] === 'set') {
      const [, scheduler, options, weights, mode, , port] = words;
      sets.push({
        file,
        scheduler,
        options: options === 'none' ? [] : options.split(','),
        weights,
        mode,
        port: Number(port),
        servers: [],
      });
    } else {
      sets.at(-1).servers.push(...(file === 'mappings' ? [words[2]] : words));
    }
  }
  return sets;
}

/** The sets of an original: "== sched=NAME [-b FLAGS] weights=r1:W,... mode=MODE port=PORT", then the servers on one line. */
export function readOriginal(text) {
  const head = /^== sched=(\S+) +(?:-b (\S+) )? *weights=(\S+) mode=(\w+).* port=(\d+)$/;
  const lines = text.split('\n');
  return lines.flatMap((line, i) => {
    const match = head.exec(line.trimEnd());
    if (match === null) return line.startsWith('== ') ? [{ fault: `unreadable: ${line}` }] : [];
    const [, scheduler, flags, weights, mode, port] = match;
    return [
      {
        scheduler,
        options: flags === undefined ? [] : flags.split(',').map((flag) => flag.replace(/^(sh|mh)-/, '')),
        weights: weights.replaceAll(/r\d+:/g, ''),
        mode,
        port: Number(port),
        // A refused connection is an error of the client's there, and "-" in the tree.
        servers: (lines[i + 1] ?? '')
          .replaceAll(/ERR:ECONNREFUSED/g, '-')
          .trim()
          .split(/\s+/),
      },
    ];
  });
}

/** One sentence for each set of the original that the tree does not have, or has otherwise. Ports are unique: each run used a new one. */
export function missingSets(recorded, sets) {
  return recorded.flatMap((original) => {
    if (original.fault !== undefined) return [original.fault];
    const mine = sets.find((set) => set.port === original.port);
    if (mine === undefined) return [`port ${original.port} (${original.scheduler}) is missing`];
    const key = (set) => [set.scheduler, [...set.options].sort().join(), set.weights, set.mode].join(' ');
    if (key(mine) !== key(original)) return [`port ${original.port} is "${key(original)}" there and "${key(mine)}" here`];
    return mine.servers.join() === original.servers.join()
      ? []
      : [`port ${original.port} (${original.scheduler}) has other servers`];
  });
}
