/** The notices on top of the page: one problem at a time, with what can be done about it. */
import { element } from './dom.ts';
import type { Problem, Remedy } from './service/problem.ts';

const LABELS: Readonly<Record<Remedy, string>> = {
  settings: 'Settings',
  retry: 'Try again',
  browser: 'Run it in this browser',
};

export class Banner {
  readonly #parent: HTMLElement;
  readonly #act: (remedy: Remedy) => void;
  #shown: string | undefined;

  constructor(parent: HTMLElement, act: (remedy: Remedy) => void) {
    this.#parent = parent;
    this.#act = act;
  }

  show({ title, message, remedies }: Problem): void {
    const text = `${title}. ${message}`;
    // Do not announce the same problem at every key.
    if (this.#shown === text) return;
    this.#shown = text;
    const buttons = remedies.map((remedy) => {
      const button = element('button', { type: 'button', class: 'button', 'data-remedy': remedy }, LABELS[remedy]);
      button.addEventListener('click', () => this.#act(remedy));
      return button;
    });
    this.#parent.replaceChildren(
      element('div', { class: 'problem' }, element('p', {}, element('strong', {}, `${title}. `), message), ...buttons),
    );
  }

  clear(): void {
    this.#shown = undefined;
    this.#parent.replaceChildren();
  }
}
