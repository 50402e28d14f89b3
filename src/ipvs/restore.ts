// Cuts the input of `ipvsadm -R` into commands.
// Guarantees: pure; never throws. As in ipvsadm, words stand between blanks, quotes are ordinary characters, the word "ipvsadm" is left
// out wherever it stands, comments do not exist, and a last line that ends in several blanks and no line break is lost.
// Thread: any.
// Source: observed behaviour of ipvsadm 1.31; the lost last line is in its published source only.

/** The words of each line that has any. */
export function restoreLines(input: string): string[][] {
  const lines = input.split('\n');
  const last = lines.pop() ?? '';
  if (!/\S[ \t\r]{2,}$/.test(last)) lines.push(last);
  return lines
    .map((line) => line.split(/[ \t\r]+/).filter((word) => word !== '' && word !== 'ipvsadm'))
    .filter((words) => words.length > 0);
}
