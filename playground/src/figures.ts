/** What the last completion cost, shown with the editor: its places are there before there is a completion. */
import { element } from './dom.ts';
import type { Result } from './service/completions.ts';

/** Not known, or there is no completion. */
const NONE = '–';

/** Between a number and its unit: they are never on two lines. */
const NO_BREAK = '\u00a0';

type Share = 'cpu' | 'queue' | 'way';

interface Figure {
  name: string;
  title: string;
  /** Its colour in the bar. */
  share?: Share;
}

const FIGURES = [
  { name: 'Total', title: 'From asking to the end of the answer' },
  { name: 'CPU', title: 'Processor time; unknown where the clock of the service stands still', share: 'cpu' },
  { name: 'Queue', title: 'Waiting in the service for the first turn', share: 'queue' },
  {
    name: 'Transfer',
    title: 'The rest: on the way there and back, and between the turns of other requests',
    share: 'way',
  },
  { name: 'Steps', title: 'Passes of the network over the canvas' },
  { name: 'Slots', title: 'Slot evaluations: slots computed, over all steps' },
  { name: 'Cached', title: 'Tokens of the context that were computed before, of all' },
  { name: 'Sure', title: 'How sure the model is of this text' },
  { name: 'Pause', title: 'From a key to the request: it follows the latency of the last answers' },
] as const satisfies readonly Figure[];

type Name = (typeof FIGURES)[number]['name'];

export class Figures {
  readonly #values = new Map<Name, HTMLElement>();
  readonly #bar = element('div', { class: 'time-bar', 'aria-hidden': true });
  readonly #shares = new Map<Share, HTMLElement>();

  constructor(parent: HTMLElement) {
    const list = element('dl', { class: 'figures', 'aria-label': 'The last completion' });
    for (const figure of FIGURES) {
      const { name, title } = figure;
      const value = element('dd', {}, NONE);
      const share = 'share' in figure ? figure.share : undefined;
      this.#values.set(name, value);
      list.append(element('div', { title, 'data-figure': name, 'data-share': share }, element('dt', {}, name), value));
      if (share === undefined) continue;
      const part = element('span', { 'data-share': share });
      this.#shares.set(share, part);
      this.#bar.append(part);
    }
    parent.append(this.#bar, list);
  }

  /** @param isRemote whether requests go over a network, and not to a Web Worker */
  show({ cost, confidence }: Result, { isRemote, pauseMs }: { isRemote: boolean; pauseMs: number }): void {
    const hasClock = cost.cpuMs > 0;
    const wayMs = hasClock && isRemote ? Math.max(0, cost.totalMs - cost.cpuMs - cost.queueMs) : undefined;
    this.#set({
      Total: milliseconds(cost.totalMs),
      CPU: milliseconds(hasClock ? cost.cpuMs : undefined),
      Queue: milliseconds(hasClock ? cost.queueMs : undefined),
      Transfer: milliseconds(wayMs),
      Steps: String(cost.steps),
      Slots: String(cost.slotEvaluations),
      Cached: `${cost.cachedTokens}${NO_BREAK}/${NO_BREAK}${cost.promptTokens}`,
      Sure: confidence === undefined ? NONE : percent(confidence),
      Pause: milliseconds(pauseMs),
    });
    this.#split({ cpu: cost.cpuMs, queue: cost.queueMs, way: wayMs ?? 0 });
  }

  clear(): void {
    this.#set({});
    this.#split({ cpu: 0, queue: 0, way: 0 });
  }

  #set(values: Partial<Record<Name, string>>): void {
    for (const [name, element] of this.#values) element.textContent = values[name] ?? NONE;
  }

  #split(shares: Readonly<Record<Share, number>>): void {
    for (const [share, part] of this.#shares) part.style.flexGrow = String(shares[share]);
  }
}

export function milliseconds(value: number | undefined): string {
  if (value === undefined) return NONE;
  return `${value < 9.95 ? value.toFixed(1) : Math.round(value)}${NO_BREAK}ms`;
}

/** A share that is not 0 is not called 0 %. */
export function percent(share: number): string {
  const whole = Math.round(share * 100);
  return `${whole === 0 && share > 0 ? 'under 1' : whole}${NO_BREAK}%`;
}
