/** A canvas in a chunk of a stream: our own field of a choice, with `diffusing: "canvas"`. */
import type { CanvasView, SlotView } from '../../engine/types.ts';

export interface CanvasBody {
  step: number;
  block: number;
  cpu_ms: number;
  slots: readonly SlotView[];
}

export function canvasOf({ step, block, cpuMs, slots }: CanvasView): CanvasBody {
  return { step, block, cpu_ms: cpuMs, slots };
}
