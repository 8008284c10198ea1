/** The controls of decoding: thresholds, temperature, seed, budget and width, each with its current value. */
import { element } from '../dom.ts';
import type { ModelInfo } from '../service/completions.ts';
import type { DecodingChoices } from '../service/request.ts';

/** One more than the largest budget of the slider: no budget. */
const NO_BUDGET = 33;
const MAX_SEED = 2 ** 32 - 1;
const DEFAULT_MAX_TOKENS = 32;

interface Slider {
  key: 'revealThreshold' | 'editThreshold' | 'temperature' | 'maxSteps' | 'maxTokens';
  label: string;
  help: string;
  min: number;
  max: number;
  step: number;
  value: number;
  write: (value: number) => string;
}

const percent = (value: number) => `${Math.round(value * 100)} %`;

const SLIDERS: readonly Slider[] = [
  {
    key: 'revealThreshold',
    label: 'τ reveal',
    help: 'A slot is revealed when the denoiser is at least so sure of it. Lower: fewer steps.',
    ...{ min: 0.05, max: 1, step: 0.05, value: 0.5, write: percent },
  },
  {
    key: 'editThreshold',
    label: 'τ edit',
    help: 'A revealed token is replaced when another one has become so likely. 100 %: never.',
    ...{ min: 0.05, max: 1, step: 0.05, value: 0.8, write: percent },
  },
  {
    key: 'temperature',
    label: 'Temperature',
    help: '0 takes the best token; above, tokens are drawn.',
    ...{ min: 0, max: 2, step: 0.1, value: 0, write: (value: number) => value.toFixed(1) },
  },
  {
    key: 'maxSteps',
    label: 'Step budget',
    help: 'Steps after which every slot takes its best token.',
    ...{ min: 1, max: NO_BUDGET, step: 1, value: NO_BUDGET },
    write: (value) => (value === NO_BUDGET ? 'none' : String(value)),
  },
  {
    key: 'maxTokens',
    label: 'Tokens',
    help: 'Most tokens of a completion.',
    ...{ min: 4, max: 64, step: 4, value: DEFAULT_MAX_TOKENS, write: String },
  },
];

export class DecodingControls {
  readonly #inputs = new Map<Slider['key'], HTMLInputElement>();
  readonly #show: (() => void)[] = [];
  readonly #seed = element('input', { type: 'number', id: 'seed', min: 0, max: MAX_SEED, step: 1, value: 1 });
  readonly #width = element('select', { id: 'canvas-width' });
  /** Sliders that the user has moved. Others say what the model does by itself, and are not sent. */
  readonly #moved = new Set<string>();

  constructor(parent: HTMLElement, onChange: () => void) {
    for (const slider of SLIDERS) parent.append(this.#slider(slider));
    const dice = element('button', { type: 'button', class: 'icon-button', 'aria-label': 'Another seed' }, '⚄');
    dice.addEventListener('click', () => {
      this.#seed.value = String(crypto.getRandomValues(new Uint16Array(1))[0]);
      onChange();
    });
    parent.append(
      field('seed', 'Seed', 'The same seed gives the same text.', this.#seed, dice),
      field(
        'canvas-width',
        'Canvas width',
        'Slots of a canvas in the editor; that of the model when automatic.',
        this.#width,
      ),
    );
    this.#setWidths([]);
    parent.addEventListener('input', ({ target }) => {
      if (target instanceof HTMLInputElement) this.#moved.add(target.id);
      for (const show of this.#show) show();
      onChange();
    });
  }

  /** Sets the controls that nobody has moved to what the model does by itself. */
  setModel({ canvasWidths, revealThreshold, editThreshold }: ModelInfo): void {
    this.#setWidths(canvasWidths);
    const own = { revealThreshold, editThreshold };
    for (const key of ['revealThreshold', 'editThreshold'] as const) {
      if (!this.#moved.has(key)) this.#inputs.get(key)!.value = String(own[key]);
    }
    for (const show of this.#show) show();
  }

  get choices(): DecodingChoices {
    const value = (key: Slider['key']) => Number(this.#inputs.get(key)!.value);
    const ifMoved = (key: Slider['key']) => (this.#moved.has(key) ? value(key) : undefined);
    return {
      maxTokens: value('maxTokens'),
      temperature: value('temperature'),
      seed: Math.min(MAX_SEED, Math.max(0, Math.trunc(Number(this.#seed.value) || 0))),
      revealThreshold: ifMoved('revealThreshold'),
      editThreshold: ifMoved('editThreshold'),
      maxSteps: value('maxSteps') === NO_BUDGET ? undefined : value('maxSteps'),
      canvasWidth: this.#width.value === '' ? undefined : Number(this.#width.value),
    };
  }

  #setWidths(widths: readonly number[]): void {
    const chosen = this.#width.value;
    this.#width.replaceChildren(
      element('option', { value: '' }, 'automatic'),
      ...widths.map((width) => element('option', { value: width }, `${width} slots`)),
    );
    this.#width.value = widths.includes(Number(chosen)) ? chosen : '';
  }

  #slider({ key, label, help, write, ...range }: Slider): HTMLElement {
    const input = element('input', { type: 'range', id: key, ...range });
    const output = element('output', { for: key });
    const show = () => {
      output.textContent = write(Number(input.value));
      input.setAttribute('aria-valuetext', output.textContent);
    };
    show();
    this.#show.push(show);
    this.#inputs.set(key, input);
    return field(key, label, help, input, output);
  }
}

function field(id: string, label: string, help: string, ...controls: HTMLElement[]): HTMLElement {
  controls[0]!.setAttribute('aria-describedby', `${id}-help`);
  return element(
    'div',
    { class: 'field' },
    element('label', { for: id }, label),
    element('div', { class: 'field-control' }, ...controls),
    element('p', { class: 'field-help', id: `${id}-help` }, help),
  );
}
