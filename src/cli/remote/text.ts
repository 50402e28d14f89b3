// Small pieces of text for tables about a daemon.
// Guarantees: pure; what comes from servers and from the network is freed of control characters before it can reach a terminal.
// Thread: main.

const COLOUR = '\\u001b\\[[0-9;]*m';

/** Without control characters and line ends. */
export function plain(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is being replaced
  return text.replaceAll(/[\u0000-\u001f\u007f-\u009f]/g, ' ');
}

/** How many characters are seen; colour codes take no room. */
export function visible(text: string): number {
  return [...text.replaceAll(new RegExp(COLOUR, 'g'), '')].length;
}

/** The first `size` visible characters; colour codes take no room, and are closed. */
export function cut(line: string, size: number): string {
  let room = size;
  let coloured = false;
  let text = '';
  for (const part of line.split(new RegExp(`(${COLOUR})`))) {
    if (part.startsWith('\u001b[')) {
      coloured = part !== '\u001b[0m';
      text += part;
      continue;
    }
    const characters = [...part];
    text += characters.slice(0, room).join('');
    if (characters.length > room) return coloured ? `${text}\u001b[0m` : text;
    room -= characters.length;
  }
  return text;
}

/** At most `size` characters; what was longer ends in "~". */
export function shorten(text: string, size: number): string {
  const characters = [...text];
  return characters.length <= size ? text : `${characters.slice(0, Math.max(0, size - 1)).join('')}~`;
}

/** 93784 seconds -> "1 d 2 h"; two units at most. */
export function formatAge(seconds: number): string {
  let rest = Math.max(0, Math.floor(seconds));
  const words: string[] = [];
  for (const [unit, size] of [
    ['d', 86_400],
    ['h', 3600],
    ['min', 60],
    ['s', 1],
  ] as const) {
    const count = Math.floor(rest / size);
    rest -= count * size;
    if (count > 0 || (unit === 's' && words.length === 0)) words.push(`${count} ${unit}`);
    else if (words.length > 0) break;
  }
  return words.slice(0, 2).join(' ');
}

/** Milliseconds since 1970 as "2026-01-31 12:00:00Z". */
export function formatTime(time: number): string {
  return Number.isFinite(time) && Math.abs(time) <= 8.64e15
    ? new Date(time)
        .toISOString()
        .replace('T', ' ')
        .replace(/\.\d+Z$/, 'Z')
    : String(time);
}
