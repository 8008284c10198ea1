/** The stage: one canvas in the middle of code, by both decoders, with the model and the width that it shows. */
import { element, find } from '../dom.ts';
import type { Language } from '../editor/languages.ts';
import type { ModelInfo } from '../service/completions.ts';
import type { Scene } from './lane.ts';
import type { Staged } from './opening.ts';
import { Player } from './player.ts';
import type { Recording } from './recording.ts';

/** The width that shows most: in narrower canvases little is out of order, in wider ones most slots stay empty. */
const SHOWN_WIDTH = 16;

export class Stage {
  readonly #player = new Player(find('lanes', HTMLElement), find('scrub', HTMLElement));
  readonly #model = find('stage-model', HTMLSelectElement);
  readonly #width = find('stage-width', HTMLSelectElement);
  readonly #rule = find('stage-rule', HTMLElement);
  /** What the user has picked; undefined as long as the page chooses. */
  #pickedModel: string | undefined;
  #pickedWidth: number | undefined;

  /** @param onPick another model or width is to be shown */
  constructor(onPick: () => void) {
    this.#model.addEventListener('change', () => {
      this.#pickedModel = this.#model.value;
      this.#pickedWidth = undefined;
      onPick();
    });
    this.#width.addEventListener('change', () => {
      this.#pickedWidth = Number(this.#width.value);
      onPick();
    });
  }

  /** The model to show; the choices show what there is. */
  choose(models: readonly [ModelInfo, ...ModelInfo[]], { language, settings }: Staged): ModelInfo {
    const named = (name: string | undefined) => models.find(({ id }) => id === name);
    const model = named(this.#pickedModel) ?? named(settings?.model) ?? showingMost(models, language);
    fill(
      this.#model,
      models.map(({ id }) => [id, id]),
      model.id,
    );
    const width = this.#widthOf(model, settings?.model === model.id ? settings.canvasWidth : SHOWN_WIDTH);
    fill(
      this.#width,
      model.canvasWidths.map((slots) => [String(slots), slots === 1 ? '1 slot at a time' : `${slots} slots at once`]),
      String(width),
    );
    return model;
  }

  /** Slots of the canvas. */
  get width(): number {
    return Number(this.#width.value);
  }

  /** Shows code without a run. */
  prepare(scene: Scene): void {
    this.#player.set(scene, undefined);
  }

  show(scene: Scene, runs: readonly [Recording, Recording], rule: string): void {
    this.#player.set(scene, runs);
    this.#player.play();
    this.#rule.textContent = rule;
  }

  #widthOf({ canvasWidths }: ModelInfo, wanted: number): number {
    if (this.#pickedWidth !== undefined && canvasWidths.includes(this.#pickedWidth)) return this.#pickedWidth;
    const fitting = canvasWidths.filter((width) => width <= wanted);
    return Math.max(...(fitting.length > 0 ? fitting : [Math.min(...canvasWidths)]));
  }
}

/** The model with the widest canvases among those that know the language; among all if none does. */
export function showingMost(models: readonly [ModelInfo, ...ModelInfo[]], language: Language): ModelInfo {
  const knowing = models.filter(({ languages }) => languages.length === 0 || languages.includes(language));
  const [first, ...others] = knowing.length > 0 ? (knowing as [ModelInfo, ...ModelInfo[]]) : models;
  const widest = ({ canvasWidths }: ModelInfo) => Math.max(...canvasWidths);
  return others.reduce((best, model) => (widest(model) > widest(best) ? model : best), first);
}

function fill(select: HTMLSelectElement, options: readonly (readonly [value: string, text: string])[], value: string) {
  select.replaceChildren(...options.map(([value, text]) => element('option', { value }, text)));
  select.value = value;
  select.disabled = options.length < 2;
}
