/** Rows as a Markdown table with the keys of the first row as columns. */
export function table(rows: readonly Readonly<Record<string, string | number>>[]): string {
  const names = Object.keys(rows[0] ?? {});
  const lines = [names, names.map(() => '---'), ...rows.map((row) => Object.values(row))];
  return lines.map((line) => `| ${line.join(' | ')} |`).join('\n');
}
