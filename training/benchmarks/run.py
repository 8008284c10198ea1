"""A run of a benchmark: concurrent completions, their tests, and a file of results from which the run can be resumed.

The first line of the file has the settings of the run. Every other line is one completion, written after its tests.
"""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path

from tqdm import tqdm

from training.benchmarks.problems import Problem
from training.benchmarks.requests import Service
from training.benchmarks.sandbox import Limits, run_program
from training.evaluation.scores import edit_similarity

RUNNABLE = ("python",)


class ResultsOfAnotherRun(ValueError):
    """The file of results is from a run with other settings or other problems."""


@dataclass(frozen=True)
class Result:
    """passed: None where the tests were not run. cost: see requests.Answer."""

    id: str
    sample: int
    text: str
    finish_reason: str
    exact_match: bool
    edit_similarity: float
    passed: bool | None
    reason: str
    cost: dict[str, int]


def header(problems: list[Problem], service: Service, run_tests: bool) -> dict:
    """Everything that influences the results: only results with the same header may be combined."""
    digest = hashlib.sha256(json.dumps([asdict(problem) for problem in problems]).encode()).hexdigest()
    return {"problems": digest, "run_tests": run_tests, **asdict(service.decoding)}


def read_results(path: Path, expected: dict) -> list[Result]:
    """Results of an interrupted run. An incomplete last line is dropped, also from the file. Raises
    ResultsOfAnotherRun."""
    if not path.exists() or path.stat().st_size == 0:
        path.write_text(json.dumps(expected) + "\n")
        return []
    text = path.read_text()
    lines = text.splitlines(keepends=True)
    if not text.endswith("\n"):
        lines.pop()
        path.write_text("".join(lines))
    found = json.loads(lines[0]) if lines else None
    if found != expected:
        differing = [name for name in expected if not isinstance(found, dict) or found.get(name) != expected[name]]
        raise ResultsOfAnotherRun(f"{path} is of a run with other {', '.join(differing) or 'settings'}")
    return [Result(**json.loads(line)) for line in lines[1:]]


def run_benchmark(
    problems: list[Problem],
    service: Service,
    out: Path,
    samples: int = 1,
    concurrency: int = 2,
    limits: Limits | None = Limits(),  # noqa: B008 (frozen)
) -> list[Result]:
    """Results of all problems, in their order. limits None: tests are not run. On an error, the results so far are kept
    in `out`. Raises openai.OpenAIError, SandboxError, ResultsOfAnotherRun."""
    results = read_results(out, header(problems, service, limits is not None))
    done = {(result.id, result.sample) for result in results}
    open_ = [(p, sample) for p in problems for sample in range(samples) if (p.id, sample) not in done]
    bar = tqdm(total=len(problems) * samples, initial=len(done), unit="completion", smoothing=0.05)
    with open(out, "a") as file, ThreadPoolExecutor(concurrency) as pool, bar:
        futures = [pool.submit(find_result, problem, sample, service, limits) for problem, sample in open_]
        try:
            for future in as_completed(futures):
                result = future.result()
                results.append(result)
                file.write(json.dumps(asdict(result)) + "\n")
                file.flush()
                bar.update()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    order = {problem.id: index for index, problem in enumerate(problems)}
    wanted = [result for result in results if result.sample < samples]
    return sorted(wanted, key=lambda result: (order[result.id], result.sample))


def find_result(problem: Problem, sample: int, service: Service, limits: Limits | None) -> Result:
    """One completion, and whether it passes the tests of its problem."""
    answer = service.complete(problem, sample)
    passed, reason = None, "not run"
    if limits and problem.language in RUNNABLE:
        outcome = run_program(problem.program(answer.text), limits)
        passed, reason = outcome.passed, outcome.reason
    return Result(
        problem.id,
        sample,
        answer.text,
        answer.finish_reason,
        problem.is_exact(answer.text),
        edit_similarity(answer.text, problem.solution),
        passed,
        reason,
        answer.cost,
    )
