/**
 * Infilling tasks from held-out packages: a span is removed from a file and has to be completed from the rest of the
 * file. The kinds are those of training/evaluation/infilling_tasks.py. The same seed gives the same tasks.
 */

import { mulberry32 } from '../../support/seeded-random.ts';
import type { HeldOutPackage } from './held-out.ts';

/**
 * `lineRest`: a random character to the end of its line. `line`: one whole line. `lines`: a random character to the end
 * of one of the next lines. `random`: any characters, mostly few.
 */
export type TaskKind = 'lineRest' | 'line' | 'lines' | 'random';

export const TASK_KINDS: readonly TaskKind[] = ['lineRest', 'line', 'lines', 'random'];

export interface Task {
  readonly kind: TaskKind;
  readonly prefix: string;
  readonly middle: string;
  readonly suffix: string;
}

/** Longer lines are data more often than code. */
const MAX_MIDDLE = 160;
/** Lines of a `lines` middle beyond the first. */
const MAX_LINES = 3;

/** `count` tasks of a kind: every package is equally likely, and every character in it. A middle is never blank. */
export function drawTasks(packages: readonly HeldOutPackage[], kind: TaskKind, count: number, seed = 1): Task[] {
  const random = mulberry32(seed * 1000 + TASK_KINDS.indexOf(kind));
  const whole = (below: number) => Math.floor(random() * below);
  const tasks: Task[] = [];
  while (tasks.length < count) {
    const { files } = packages[whole(packages.length)]!;
    let character = whole(files.reduce((sum, { text }) => sum + text.length, 0));
    const file = files.find(({ text }) => {
      if (character < text.length) return true;
      character -= text.length;
      return false;
    })!;
    const [start, end] = cutSpan(random, file.text, character, kind);
    const middle = file.text.slice(start, end);
    if (middle.trim() === '' || middle.length > MAX_MIDDLE) continue;
    tasks.push({ kind, prefix: file.text.slice(0, start), middle, suffix: file.text.slice(end) });
  }
  return tasks;
}

function cutSpan(random: () => number, text: string, character: number, kind: TaskKind): [start: number, end: number] {
  const lineEnd = endOfLine(text, character);
  if (kind === 'lines') {
    let end = lineEnd;
    for (let more = 1 + Math.floor(MAX_LINES * random()); more > 0; more--) end = endOfLine(text, end + 1);
    return [character, end];
  }
  if (kind === 'lineRest') return [character, lineEnd];
  if (kind === 'random') return [character, Math.min(character + Math.floor(MAX_MIDDLE ** random()), text.length)];
  const lineStart = text.lastIndexOf('\n', character - 1) + 1;
  const indent = /^[ \t]*/.exec(text.slice(lineStart, lineEnd))![0].length;
  return [lineStart + (random() < 0.5 ? indent : 0), lineEnd];
}

function endOfLine(text: string, character: number): number {
  const end = text.indexOf('\n', character);
  return end < 0 ? text.length : end;
}

/** 1 − Levenshtein distance / length of the longer text, in UTF-16 units. */
export function editSimilarity(one: string, other: string): number {
  const longest = Math.max(one.length, other.length);
  if (longest === 0) return 1;
  let row = Uint16Array.from({ length: other.length + 1 }, (_, i) => i);
  for (let i = 1; i <= one.length; i++) {
    const next = new Uint16Array(other.length + 1);
    next[0] = i;
    for (let j = 1; j <= other.length; j++) {
      const substituted = row[j - 1]! + (one[i - 1] === other[j - 1] ? 0 : 1);
      next[j] = Math.min(substituted, row[j]! + 1, next[j - 1]! + 1);
    }
    row = next;
  }
  return 1 - row[other.length]! / longest;
}
