/** Try the API: tabs with the request as curl, TypeScript and Python, and a copy button. */
import { element } from '../dom.ts';
import { SNIPPETS, type SnippetKind } from './snippets.ts';

const NAMES: Readonly<Record<SnippetKind, string>> = { curl: 'curl', typescript: 'TypeScript', python: 'Python' };
const COPIED_MS = 1600;

export class SnippetsView {
  readonly #snippetOf: (kind: SnippetKind) => string;
  readonly #code = element('pre', { id: 'snippet', tabindex: 0, role: 'tabpanel' });
  readonly #tabs: HTMLButtonElement[];
  #kind: SnippetKind = 'curl';

  /** @param announce makes screen readers say that the code was copied */
  constructor(parent: HTMLElement, snippetOf: (kind: SnippetKind) => string, announce: (text: string) => void) {
    this.#snippetOf = snippetOf;
    this.#tabs = SNIPPETS.map((kind) => {
      const tab = element('button', { type: 'button', role: 'tab', id: `tab-${kind}`, 'aria-controls': 'snippet' });
      tab.textContent = NAMES[kind];
      tab.addEventListener('click', () => this.#select(kind));
      return tab;
    });
    const tabs = element('div', { role: 'tablist', class: 'tabs', 'aria-label': 'Language of the request' });
    tabs.append(...this.#tabs);
    tabs.addEventListener('keydown', (event) => this.#walk(event));
    const copy = element('button', { type: 'button', class: 'button', id: 'copy' }, 'Copy');
    copy.addEventListener('click', async () => {
      // Undefined if the page was opened with plain http.
      const { clipboard } = navigator as { clipboard?: Clipboard };
      const copying = clipboard?.writeText(this.#code.textContent) ?? Promise.reject(new Error('no clipboard'));
      const done = await copying.then(
        () => 'Copied',
        () => 'The browser refused',
      );
      copy.textContent = done;
      announce(done);
      window.setTimeout(() => {
        copy.textContent = 'Copy';
      }, COPIED_MS);
    });
    parent.append(element('div', { class: 'tab-row' }, tabs, copy), this.#code);
    this.#select(this.#kind);
  }

  /** Updates the code of the request. */
  update(): void {
    this.#code.textContent = this.#snippetOf(this.#kind);
  }

  #select(kind: SnippetKind): void {
    this.#kind = kind;
    for (const [index, tab] of this.#tabs.entries()) {
      const selected = SNIPPETS[index] === kind;
      tab.setAttribute('aria-selected', String(selected));
      tab.tabIndex = selected ? 0 : -1;
    }
    this.#code.setAttribute('aria-labelledby', `tab-${kind}`);
    this.update();
  }

  /** Arrow keys, as tabs have them: https://www.w3.org/WAI/ARIA/apg/patterns/tabs/ */
  #walk(event: KeyboardEvent): void {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step === undefined) return;
    const index = (SNIPPETS.indexOf(this.#kind) + step + SNIPPETS.length) % SNIPPETS.length;
    this.#select(SNIPPETS[index]!);
    this.#tabs[index]!.focus();
    event.preventDefault();
  }
}
