/**
 * Quality against budget: the text of the canvas after a number of steps or milliseconds. The engine completes
 * infilling tasks from held-out packages once for each budget (`max_steps` and `deadline_ms` of a request).
 *
 * Run: `npm run bench:budget`, or `node bench/quality/budget.ts [tasks of each kind]` after `npm run build:kernels`
 * (Node 24 or later; needs the npm registry the first time). Prints a table, then a line of JSON. Deadlines are
 * wall-clock time, so other programs on the machine change their results; budgets of steps give the same results
 * everywhere.
 */

import type { Engine, GenerateRequest } from '../../src/engine/types.ts';
import { complete, openBundledEngine } from '../engine.ts';
import { withProcessorMs } from '../processor-time.ts';
import { table } from '../table.ts';
import { heldOutPackages } from './held-out.ts';
import { drawTasks, editSimilarity, TASK_KINDS, type Task } from './tasks.ts';

const TASKS_OF_EACH_KIND = 60;

/** Enough for all but a few of the middles. */
const MAX_TOKENS = 48;

/** Warm-up tasks, which are not counted: the optimizing compiler replaces the first code meanwhile. */
const WARM_UP_TASKS = 8;

type Budget = Pick<GenerateRequest, 'maxSteps' | 'deadlineMs'>;

const BUDGETS: Readonly<Record<string, Budget>> = {
  ...Object.fromEntries([1, 2, 3, 4, 6, 8, 12].map((maxSteps) => [`${maxSteps} steps`, { maxSteps }])),
  ...Object.fromEntries([2, 5, 10, 20, 40].map((deadlineMs) => [`${deadlineMs} ms`, { deadlineMs }])),
  'no budget': {},
};

interface Outcome {
  exact: number;
  similarity: number;
  tokens: number;
  steps: number;
  cpuMs: number;
  /** 1 if the budget ended before the text. */
  cut: number;
}

export interface BudgetRow {
  budget: string;
  exactMatch: number;
  editSimilarity: number;
  /** Half of the 95 % interval of the mean. */
  editSimilarityInterval: number;
  /** Means per completion; CPU time without prefill. */
  tokens: number;
  steps: number;
  cpuMs: number;
  /** Share of the completions that had not ended. */
  cutShare: number;
}

export interface BudgetResult {
  tasks: number;
  rows: readonly BudgetRow[];
}

async function attempt(engine: Engine, { prefix, middle, suffix }: Task, budget: Budget): Promise<Outcome> {
  const request = { prefix, suffix, maxTokens: MAX_TOKENS, ...budget };
  const [{ text, finishReason, usage }, cpuMs] = await withProcessorMs(() => complete(engine, request));
  return {
    exact: Number(text === middle),
    similarity: editSimilarity(text, middle),
    tokens: usage.completionTokens,
    steps: usage.steps,
    cpuMs,
    cut: Number(finishReason === 'length'),
  };
}

function summarize(budget: string, outcomes: readonly Outcome[]): BudgetRow {
  const mean = (value: (outcome: Outcome) => number) =>
    outcomes.reduce((sum, outcome) => sum + value(outcome), 0) / outcomes.length;
  const similarity = mean((outcome) => outcome.similarity);
  const variance = mean((outcome) => (outcome.similarity - similarity) ** 2);
  return {
    budget,
    exactMatch: mean((outcome) => outcome.exact),
    editSimilarity: similarity,
    editSimilarityInterval: 1.96 * Math.sqrt(variance / outcomes.length),
    tokens: mean((outcome) => outcome.tokens),
    steps: mean((outcome) => outcome.steps),
    cpuMs: mean((outcome) => outcome.cpuMs),
    cutShare: mean((outcome) => outcome.cut),
  };
}

export async function benchBudget(tasksOfEachKind = TASKS_OF_EACH_KIND): Promise<BudgetResult> {
  const packages = heldOutPackages('validation');
  const tasks = TASK_KINDS.flatMap((kind) => drawTasks(packages, kind, tasksOfEachKind));
  const engine = await openBundledEngine();
  const budgets = Object.entries(BUDGETS).map(([name, budget]) => ({ name, budget, found: [] as Outcome[] }));
  for (const task of tasks.slice(0, WARM_UP_TASKS)) await attempt(engine, task, {});
  // Task by task, so that a busy machine disturbs all budgets equally.
  for (const task of tasks) {
    await complete(engine, { prefix: task.prefix, suffix: task.suffix, maxTokens: 0 });
    for (const { budget, found } of budgets) found.push(await attempt(engine, task, budget));
  }
  return { tasks: tasks.length, rows: budgets.map(({ name, found }) => summarize(name, found)) };
}

export function formatBudget({ tasks, rows }: BudgetResult): string {
  const percent = (value: number) => `${(100 * value).toFixed(1)} %`;
  return table(
    rows.map((row) => ({
      [`budget (${tasks} tasks)`]: row.budget,
      'exact match': percent(row.exactMatch),
      'edit similarity': `${percent(row.editSimilarity)} ± ${(100 * row.editSimilarityInterval).toFixed(1)}`,
      tokens: row.tokens.toFixed(1),
      steps: row.steps.toFixed(1),
      'CPU ms': row.cpuMs.toFixed(1),
      'not ended': percent(row.cutShare),
    })),
  );
}

if (import.meta.main) {
  const result = await benchBudget(Number(process.argv[2] ?? TASKS_OF_EACH_KIND));
  console.log(`${formatBudget(result)}\n`);
  console.log(JSON.stringify(result));
}
