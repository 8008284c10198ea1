"""Scores of a run: means over problems, with 95 % bootstrap intervals over the problems."""

from collections import Counter, defaultdict

import numpy as np

from training.benchmarks.problems import Problem
from training.benchmarks.run import Result
from training.evaluation.scores import interval, markdown

MEASURES = {"passed": "pass@1", "exact_match": "exact match", "edit_similarity": "edit similarity"}
REASONS = 5  # number of reasons listed, the most frequent ones


def summarize(problems: list[Problem], results: list[Result]) -> dict[str, dict]:
    """By group of problems: number of problems, each measure with its interval where it is known, and costs. Several
    samples of a problem are averaged first: the share of them that passes is its pass@1."""
    groups = defaultdict(list)
    for problem in problems:
        groups[problem.group].append(problem.id)
    by_id = defaultdict(list)
    for result in results:
        by_id[result.id].append(result)
    return {group: _summary([by_id[id_] for id_ in ids]) for group, ids in groups.items()}


def _summary(samples: list[list[Result]]) -> dict:
    """samples: of each problem."""
    flat = [result for of_problem in samples for result in of_problem]
    summary: dict = {"problems": len(samples), "completions": len(flat)}
    for name in MEASURES:
        values = [[getattr(result, name) for result in of_problem] for of_problem in samples]
        if any(value is None for of_problem in values for value in of_problem):
            continue
        means = np.array([np.mean(of_problem) for of_problem in values], float)
        summary[name] = float(means.mean())
        summary[f"{name}_interval"] = interval(means)
    for name in sorted({name for result in flat for name in result.cost}):
        summary[name] = float(np.mean([result.cost.get(name, 0) for result in flat]))
    failed = Counter(result.reason for result in flat if result.passed is False)
    if failed:
        summary["failures"] = dict(failed.most_common(REASONS))
    return summary


def table(summary: dict[str, dict]) -> str:
    """One row a group."""
    costs = sorted(
        {name for row in summary.values() for name in row} & {"steps", "slot_evaluations", "completion_tokens"}
    )
    rows = [
        [
            group,
            str(row["problems"]),
            *(_share(name, row) for name in MEASURES),
            *(f"{row[name]:.1f}" if name in row else "–" for name in costs),
        ]
        for group, row in summary.items()
    ]
    return markdown(["benchmark", "problems", *MEASURES.values(), *(name.replace("_", " ") for name in costs)], rows)


def _share(name: str, row: dict) -> str:
    if name not in row:
        return "–"
    low, high = row[f"{name}_interval"]
    return f"{100 * row[name]:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"
