/** The cost of the last completion, shown with the editor. */
import { element } from './dom.ts';
import type { Result } from './service/completions.ts';

const UNKNOWN = '–';

/** @param isRemote whether requests go over a network, and not to a Web Worker */
export function showMetrics(list: HTMLElement, { cost, confidence }: Result, isRemote: boolean): void {
  const milliseconds = (value: number) =>
    value > 0 ? `${value < 10 ? value.toFixed(1) : Math.round(value)} ms` : UNKNOWN;
  const entries: [name: string, value: string, explanation: string][] = [
    ['Total', milliseconds(cost.totalMs), 'From asking to the end of the answer'],
    [
      'Network',
      isRemote && cost.cpuMs > 0 ? milliseconds(cost.totalMs - cost.cpuMs) : UNKNOWN,
      'Time on the way and in the line: the total without processor time',
    ],
    ['CPU', milliseconds(cost.cpuMs), 'Processor time; unknown where the clock of the service stands still'],
    ['Steps', String(cost.steps), 'Passes of the network over the canvas'],
    ['Slot evaluations', String(cost.slotEvaluations), 'Slots computed, over all steps'],
    ['Cached', `${cost.cachedTokens} / ${cost.promptTokens}`, 'Tokens of the context that were computed before'],
    [
      'Confidence',
      confidence === undefined ? UNKNOWN : `${Math.round(confidence * 100)} %`,
      'Geometric mean of the probabilities of the tokens',
    ],
  ];
  list.replaceChildren(
    ...entries.map(([name, value, title]) =>
      element('div', { title, 'data-metric': name }, element('dt', {}, name), element('dd', {}, value)),
    ),
  );
}
