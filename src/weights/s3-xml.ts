/** The XML that S3 answers with: elements whose attributes do not matter, of which a few are read by name. */

const ENTITIES: Record<string, string> = { lt: '<', gt: '>', amp: '&', quot: '"', apos: "'" };

/** The content of each element of that name, as text. */
export function elements(xml: string, name: string): string[] {
  return Array.from(xml.matchAll(new RegExp(`<${name}(?:\\s[^>]*)?>([^]*?)</${name}>`, 'g')), ([, inside]) => inside!);
}

/** The text of the first element of that name. */
export function textOf(xml: string, name: string): string | undefined {
  return elements(xml, name)[0]?.replace(/&(?:#(\d+)|#x([0-9a-f]+)|(\w+));/gi, (entity, decimal, hex, word) => {
    if (word !== undefined) return ENTITIES[word as string] ?? (entity as string);
    return String.fromCodePoint(decimal !== undefined ? Number(decimal) : Number.parseInt(hex as string, 16));
  });
}
