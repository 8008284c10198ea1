/**
 * Quality against cost: the engine completes infilling tasks from held-out packages once for each policy of canvas
 * width, freezing and reveal threshold.
 *
 * Run: `npm run bench:quality`, or `node bench/quality/quality.ts [tasks of each kind]` after `npm run build:kernels`
 * (Node 24 or later; needs the npm registry the first time). Prints a table, the policy chosen by the rule below, and a
 * line of JSON.
 */

import type { Engine, GenerateRequest } from '../../src/engine/types.ts';
import { complete, openBundledEngine } from '../engine.ts';
import { withProcessorMs } from '../processor-time.ts';
import { heldOutPackages } from './held-out.ts';
import { drawTasks, editSimilarity, TASK_KINDS, type Task, type TaskKind } from './tasks.ts';

/** Enough for all but a few of the middles, and not a canvas width, so that the engine has to choose one. */
const MAX_TOKENS = 48;
const TASKS_OF_EACH_KIND = 75;

type Policy = Pick<GenerateRequest, 'canvasWidth' | 'revealThreshold' | 'freezeAfter'>;

const CANVAS_WIDTHS = [32, 16, 8, 4, 2];
/** Of narrow canvases, whose slots are frozen after one evaluation; 1 reveals slot by slot. */
const NARROW = [4, 2];
const THRESHOLDS = [1, 0.3, 0.2, 0.1, 0.05, 0.02];
const WIDE_THRESHOLD = 0.5;

const policy = (canvasWidth: number, revealThreshold: number, freezeAfter: number): [string, Policy] => [
  `canvas ${canvasWidth}, ${freezeAfter === 1 ? 'frozen after 1' : 'never frozen'}, τ ${revealThreshold}`,
  { canvasWidth, revealThreshold, freezeAfter },
];

const POLICIES: readonly [name: string, Policy][] = [
  ...CANVAS_WIDTHS.map((width) => policy(width, WIDE_THRESHOLD, Number.POSITIVE_INFINITY)),
  ...CANVAS_WIDTHS.map((width) => policy(width, WIDE_THRESHOLD, 1)),
  ...NARROW.flatMap((width) => THRESHOLDS.map((threshold) => policy(width, threshold, 1))),
];

interface Outcome {
  readonly kind: TaskKind;
  readonly similarity: number;
  readonly exact: number;
  readonly tokens: number;
  readonly steps: number;
  readonly slotEvaluations: number;
  readonly cpuMs: number;
}

export interface QualityRow {
  readonly policy: string;
  readonly exactMatch: number;
  readonly editSimilarity: number;
  /** Paired differences from the policy with the best edit similarity. */
  readonly exactMatchDifference: Difference;
  readonly editSimilarityDifference: Difference;
  /** Means a completion. */
  readonly tokens: number;
  readonly steps: number;
  readonly slotEvaluations: number;
  /** CPU milliseconds without prefill. */
  readonly cpuMs: number;
}

interface Difference {
  readonly mean: number;
  /** Half of the 95 % interval of the mean. */
  readonly interval: number;
}

export interface QualityResult {
  readonly tasks: number;
  readonly all: readonly QualityRow[];
  readonly byKind: Readonly<Record<TaskKind, readonly QualityRow[]>>;
  readonly best: string;
  readonly chosen: string;
}

const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

function differenceOf(values: readonly number[], reference: readonly number[]): Difference {
  const differences = values.map((value, task) => value - reference[task]!);
  const center = mean(differences);
  const variance = mean(differences.map((value) => (value - center) ** 2));
  return { mean: center, interval: 1.96 * Math.sqrt(variance / values.length) };
}

function summarize(policy: string, found: readonly Outcome[], reference: readonly Outcome[]): QualityRow {
  const column = (name: Exclude<keyof Outcome, 'kind'>) => found.map((one) => one[name]);
  const differenceIn = (name: 'exact' | 'similarity') =>
    differenceOf(
      column(name),
      reference.map((one) => one[name]),
    );
  return {
    policy,
    exactMatch: mean(column('exact')),
    editSimilarity: mean(column('similarity')),
    exactMatchDifference: differenceIn('exact'),
    editSimilarityDifference: differenceIn('similarity'),
    tokens: mean(column('tokens')),
    steps: mean(column('steps')),
    slotEvaluations: mean(column('slotEvaluations')),
    cpuMs: mean(column('cpuMs')),
  };
}

/** The largest mean loss of a policy in either measure against the best one, even where it may be noise: a fiftieth. */
const MAX_LOSS = 0.02;

/**
 * The rule: take the policies that are not significantly worse than the best one in exact match and edit similarity
 * (the 95 % interval of the paired difference reaches 0), and not worse by more than MAX_LOSS. Choose the one with the
 * fewest slot evaluations per token.
 */
function choose(rows: readonly QualityRow[]): string {
  const holds = ({ mean, interval }: Difference) => mean + interval >= 0 && mean >= -MAX_LOSS;
  const equal = rows.filter((row) => holds(row.exactMatchDifference) && holds(row.editSimilarityDifference));
  const cost = ({ slotEvaluations, tokens }: QualityRow) => slotEvaluations / tokens;
  return equal.reduce((best, row) => (cost(row) < cost(best) ? row : best)).policy;
}

async function attempt(engine: Engine, { kind, prefix, middle, suffix }: Task, policy: Policy): Promise<Outcome> {
  const request = { prefix, suffix, maxTokens: MAX_TOKENS, ...policy };
  const [{ text, usage }, cpuMs] = await withProcessorMs(() => complete(engine, request));
  return {
    kind,
    similarity: editSimilarity(text, middle),
    exact: Number(text === middle),
    tokens: usage.completionTokens,
    steps: usage.steps,
    slotEvaluations: usage.slotEvaluations,
    cpuMs,
  };
}

export async function benchQuality(tasksOfEachKind = TASKS_OF_EACH_KIND): Promise<QualityResult> {
  const packages = heldOutPackages('validation');
  const tasks = TASK_KINDS.flatMap((kind) => drawTasks(packages, kind, tasksOfEachKind));
  const engine = await openBundledEngine();
  const policies = POLICIES.map(([name, policy]) => ({ name, policy, found: [] as Outcome[] }));
  // Task by task, so that a busy machine disturbs all policies equally.
  for (const task of tasks) {
    await complete(engine, { prefix: task.prefix, suffix: task.suffix, maxTokens: 0 });
    for (const { policy, found } of policies) found.push(await attempt(engine, task, policy));
  }
  const similarity = (found: readonly Outcome[]) => mean(found.map((one) => one.similarity));
  const best = policies.reduce((best, next) => (similarity(next.found) > similarity(best.found) ? next : best));
  const reference = best.found;
  const rows = (belongs: (one: Outcome) => boolean) =>
    policies.map(({ name, found }) => summarize(name, found.filter(belongs), reference.filter(belongs)));
  const all = rows(() => true);
  const byKind: Record<TaskKind, readonly QualityRow[]> = { lineRest: [], line: [], lines: [], random: [] };
  for (const kind of TASK_KINDS) byKind[kind] = rows((one) => one.kind === kind);
  return { tasks: tasks.length, all, byKind, best: best.name, chosen: choose(all) };
}

const percent = (value: number) => `${(100 * value).toFixed(1)} %`;

const signed = ({ mean, interval }: Difference) => `${(100 * mean).toFixed(1)} ± ${(100 * interval).toFixed(1)}`;

function formatRows(title: string, rows: readonly QualityRow[]): string {
  const cells = rows.map((row) => ({
    policy: row.policy,
    exact: `${percent(row.exactMatch)} (${signed(row.exactMatchDifference)})`,
    'edit similarity': `${percent(row.editSimilarity)} (${signed(row.editSimilarityDifference)})`,
    tokens: row.tokens.toFixed(1),
    steps: row.steps.toFixed(1),
    evaluations: row.slotEvaluations.toFixed(1),
    'evaluations/token': (row.slotEvaluations / row.tokens).toFixed(1),
    'CPU ms': row.cpuMs.toFixed(1),
    'ms/token': (row.cpuMs / row.tokens).toFixed(2),
  }));
  const lines = [Object.keys(cells[0]!), Object.keys(cells[0]!).map(() => '---'), ...cells.map(Object.values)];
  return `${title}\n\n${lines.map((line) => `| ${line.join(' | ')} |`).join('\n')}`;
}

export function formatQuality({ tasks, all, byKind, best, chosen }: QualityResult): string {
  return [
    formatRows(`all ${tasks} tasks, a completion; differences to "${best}" in percentage points`, all),
    ...TASK_KINDS.map((kind) => formatRows(kind, byKind[kind])),
    `chosen: ${chosen}`,
  ].join('\n\n');
}

if (import.meta.main) {
  const result = await benchQuality(Number(process.argv[2] ?? TASKS_OF_EACH_KIND));
  console.log(`${formatQuality(result)}\n`);
  console.log(JSON.stringify(result));
}
