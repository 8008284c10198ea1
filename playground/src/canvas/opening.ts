/** What the stage opens on: the prompt of examples/prompts.json that names a canvas. */
import prompts from '../../../examples/prompts.json' with { type: 'json' };
import { LANGUAGES } from '../editor/languages.ts';
import type { Scene } from './lane.ts';

/** A model and its settings that resolve a canvas well. */
export interface CanvasSettings {
  model: string;
  canvasWidth: number;
  revealThreshold: number;
  editThreshold: number;
}

export interface Staged extends Scene {
  /** Undefined where the page chooses, and the model decodes as it does by itself. */
  settings?: CanvasSettings;
}

export const OPENING: Staged = opening();

function opening(): Staged {
  const entry = prompts.find(({ canvas }) => canvas !== undefined);
  const language = LANGUAGES.find((name) => name === entry?.language);
  if (entry?.canvas === undefined || language === undefined) throw new Error('no prompt names a canvas');
  const { model, canvas_width, reveal_threshold, edit_threshold } = entry.canvas;
  return {
    ...{ prefix: entry.prompt, suffix: entry.suffix, language },
    settings: {
      ...{ model, canvasWidth: canvas_width },
      ...{ revealThreshold: reveal_threshold, editThreshold: edit_threshold },
    },
  };
}
