/** Creates elements with attributes and children in one call. Text is never parsed as HTML. */

type Attributes = Record<string, string | number | boolean | undefined>;

/** Attributes that are false or undefined are left out; those that are true are empty. */
export function element<Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  attributes: Attributes = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[Name] {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === false) continue;
    made.setAttribute(key, value === true ? '' : String(value));
  }
  made.append(...children);
  return made;
}

/** An element of the page's HTML. Throws when it is missing or of another kind. */
export function find<T extends HTMLElement>(id: string, kind: new () => T): T {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`the page has no ${kind.name} #${id}`);
  return found;
}

/** Calls `call` when the returned function has not been called for `delayMs`. */
export function debounced(call: () => void, delayMs: number): { (): void; cancel(): void } {
  let timer: number | undefined;
  const later = () => {
    window.clearTimeout(timer);
    timer = window.setTimeout(call, delayMs);
  };
  later.cancel = () => window.clearTimeout(timer);
  return later;
}
