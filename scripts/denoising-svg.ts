/**
 * Two recorded runs as an animated SVG. It uses only CSS animations, so that it also moves where scripts are blocked.
 */
import { glyphs } from '../playground/src/canvas/lane.ts';
import { cpuMsAfter, type Recording, slotsAfter } from '../playground/src/canvas/recording.ts';
import type { SlotView } from '../src/engine/types.ts';

const WIDTH = 880;
const MARGIN = 24;
const CHARACTER = 8.43; // width of a character at 14 pixels in the usual monospaced fonts
const SLOT_HEIGHT = 30;
const GAP = 5;
const LANE_HEIGHT = 104;
const HEAD_HEIGHT = 84;

/** Seconds for each pass, and for the end. */
const PASS_SECONDS = 0.7;
const END_SECONDS = 3;

const COLORS = {
  ground: '#0d1219',
  panel: '#151d27',
  text: '#e7edf5',
  muted: '#9db0c4',
  border: '#2b394a',
  accent: '#5cc8ff',
};
/** Colours of low and high confidence. */
const LOW = [224, 128, 58] as const;
const HIGH = [45, 212, 167] as const;

export interface Lane {
  name: string;
  about: string;
  recording: Recording;
}

/** @param code the line around the cursor: text before it and after it */
export function denoisingSvg(code: { before: string; after: string }, lanes: readonly Lane[]): string {
  const passes = Math.max(...lanes.map(({ recording }) => recording.steps.length));
  const seconds = (passes + 1) * PASS_SECONDS + END_SECONDS;
  const height = HEAD_HEIGHT + lanes.length * LANE_HEIGHT + 14;
  const clock = new Timeline(passes, seconds);
  const body = lanes.map((lane, index) => laneOf(lane, HEAD_HEIGHT + index * LANE_HEIGHT, passes, clock));
  const title = `${code.before}█${code.after}`;
  const described = lanes
    .map(({ name, recording }) => `${name}: ${recording.steps.length} passes of the network`)
    .join('; ');
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-label="${escaped(
    `The middle of "${title}" comes out of noise. ${described}.`,
  )}">
<style>
text{font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;fill:${COLORS.text};white-space:pre}
.s{font-family:system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}.m{fill:${COLORS.muted}}.b{font-weight:650}.n{fill:${COLORS.muted};opacity:.55}.e{text-anchor:end}
g[class^=t]{animation:${seconds}s step-end infinite;visibility:hidden}
${clock.css()}
@media(prefers-reduced-motion:reduce){g[class^=t]{animation:none}g.last{visibility:visible}}
</style>
<rect width="${WIDTH}" height="${height}" rx="16" fill="${COLORS.ground}"/>
<text x="${MARGIN}" y="36"><tspan class="m">${escaped(code.before)}</tspan><tspan fill="${COLORS.accent}">█</tspan><tspan class="m">${escaped(code.after)}</tspan></text>
<text x="${MARGIN}" y="62" class="s m" style="font-size:13px">One recorded run of each, pass by pass of the same network.</text>
${body.join('\n')}
</svg>
`;
}

/** Creates a class for each span of passes, with the animation that shows its elements during them. */
class Timeline {
  readonly #passes: number;
  readonly #seconds: number;
  readonly #spans = new Map<string, [from: number, to: number]>();

  constructor(passes: number, seconds: number) {
    this.#passes = passes;
    this.#seconds = seconds;
  }

  /**
   * The class for elements shown from pass `from` to before pass `to`; until the end if `to` is after the last pass.
   */
  classOf(from: number, to: number): string {
    const name = `t${from}_${to}`;
    this.#spans.set(name, [from, to]);
    return to > this.#passes ? `${name} last` : name;
  }

  css(): string {
    const percent = (pass: number) => `${((100 * pass * PASS_SECONDS) / this.#seconds).toFixed(2)}%`;
    return [...this.#spans]
      .map(([name, [from, to]]) => {
        const start =
          from === 0 ? '0%{visibility:visible}' : `0%{visibility:hidden}${percent(from)}{visibility:visible}`;
        const end = to > this.#passes ? '' : `${percent(to)}{visibility:hidden}`;
        return `@keyframes ${name}{${start}${end}}g.${name}{animation-name:${name}}`;
      })
      .join('\n');
  }
}

function laneOf({ name, about, recording }: Lane, top: number, passes: number, clock: Timeline): string {
  const states = Array.from({ length: passes + 1 }, (_, pass) =>
    slotsAfter(recording, Math.min(pass, recording.steps.length)),
  );
  const count = Math.max(...states.map((slots) => slots.length));
  const parts: string[] = [];
  let x = MARGIN;
  for (let slot = 0; slot < count; slot++) {
    const shown = states.map((slots) => slots[slot]);
    const width = Math.max(...shown.map((view) => widthOf(view, slot)));
    for (const { from, to, view } of spansOf(shown)) {
      if (view) parts.push(`<g class="${clock.classOf(from, to)}">${slotOf(view, slot, x, top + 34, width)}</g>`);
    }
    x += width + GAP;
  }
  const counts = states.map((_, pass) => {
    const taken = Math.min(pass, recording.steps.length);
    return `${taken} of ${recording.steps.length} passes${taken === recording.steps.length ? endOf(recording) : ''}`;
  });
  for (const { from, to, view } of spansOf(counts)) {
    parts.push(
      `<g class="${clock.classOf(from, to)}"><text x="${WIDTH - MARGIN}" y="${top + 20}" class="e" style="font-size:13px">${view}</text></g>`,
    );
  }
  return `<text x="${MARGIN}" y="${top + 20}" class="s b">${escaped(name)}<tspan class="m" style="font-weight:400;font-size:13px">  ${escaped(about)}</tspan></text>
${parts.join('\n')}`;
}

function endOf(recording: Recording): string {
  const { result, steps } = recording;
  const parts = [
    result && `${result.cost.slotEvaluations} slot evaluations`,
    `${cpuMsAfter(recording, steps.length).toFixed(1)} ms CPU`,
  ];
  return ` · ${parts.filter((part) => part !== undefined).join(' · ')}`;
}

/** Spans of passes in which the drawing does not change. */
function spansOf<T>(shown: readonly T[]): { from: number; to: number; view: T }[] {
  const spans: { from: number; to: number; view: T }[] = [];
  for (const [pass, view] of shown.entries()) {
    const last = spans.at(-1);
    if (last && JSON.stringify(drawn(last.view)) === JSON.stringify(drawn(view))) last.to = pass + 1;
    else spans.push({ from: pass, to: pass + 1, view });
  }
  return spans;
}

/** The drawn part of a slot: noise looks the same with every prediction. */
function drawn(view: unknown): unknown {
  if (typeof view !== 'object' || view === null) return view;
  const { state, text, confidence, change } = view as SlotView;
  return state === 'mask' || state === 'dropped' ? state : [state, text, confidence, change];
}

function slotOf(view: SlotView, index: number, x: number, y: number, width: number): string {
  const middle = `x="${(x + width / 2).toFixed(1)}" y="${y + 20}" text-anchor="middle"`;
  const box = (fill: string, stroke: string, more = '') =>
    `<rect x="${x.toFixed(1)}" y="${y}" width="${width.toFixed(1)}" height="${SLOT_HEIGHT}" rx="7" fill="${fill}" stroke="${stroke}"${more}/>`;
  if (view.state === 'dropped') return box('none', COLORS.border, ' stroke-dasharray="2 4"');
  if (view.state === 'mask') {
    const noise = glyphs({ ...view, text: '', confidence: 0 }, index);
    return `${box(COLORS.panel, COLORS.border, ' stroke-dasharray="3 3"')}<text ${middle} class="n">${noise}</text>`;
  }
  const tint = `rgb(${LOW.map((low, at) => Math.round(low + (HIGH[at]! - low) * view.confidence)).join(' ')})`;
  const stroke = view.change === 'reveal' ? COLORS.accent : view.change === 'edit' ? '#d9a1ff' : tint;
  const bar = `<rect x="${x.toFixed(1)}" y="${y + SLOT_HEIGHT - 3}" width="${(width * view.confidence).toFixed(1)}" height="3" rx="1.5" fill="${tint}"/>`;
  return `${box(COLORS.panel, stroke, view.change ? ' stroke-width="2"' : '')}${bar}<text ${middle}>${escaped(glyphs(view, index))}</text>`;
}

function widthOf(view: SlotView | undefined, index: number): number {
  const characters = view && view.state !== 'mask' ? [...glyphs(view, index)].length : 1;
  return Math.max(24, characters * CHARACTER + 12);
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;');
}
