"""Infilling problems from the files their authors publish; the data are not part of this repository.

HumanEval-Infilling (Bavarian et al., arXiv 2207.14255; github.com/openai/human-eval-infilling, `data/*.jsonl.gz`):
task_id, entry_point, prompt, suffix, canonical_solution, test; all Python. The benchmark of a problem is the first part
of its task_id (SingleLineInfilling, MultiLineInfilling, RandomSpanInfilling, …).

SantaCoder's fill-in-the-middle (arXiv 2301.03988; the data set bigcode/santacoder-fim-task, or `benchmark.jsonl` of
github.com/arjunguha/santacoder_fim_benchmark): name, language (py, js, java), prompt, suffix, canonical_solution,
tests. Its authors compare a completion with the solution without white space at the ends.
"""

import gzip
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

GZIP_MAGIC = b"\x1f\x8b"
LANGUAGES = {"py": "python", "js": "javascript", "java": "java"}


class BenchmarkFileError(ValueError):
    """A file in none of the known formats. The message has the line and what was expected."""


@dataclass(frozen=True)
class Problem:
    """id: unique in its file; group: problems that are averaged together; tests: code to run after the program."""

    id: str
    group: str
    language: str
    prefix: str
    suffix: str
    solution: str
    tests: str
    strip: bool  # ignore white space at both ends of a completion

    def is_exact(self, completion: str) -> bool:
        if self.strip:
            return completion.strip() == self.solution.strip()
        return completion == self.solution

    def program(self, completion: str) -> str:
        """The completed program with its tests: it ends without an exception if the completion passes."""
        return f"{self.prefix}{completion}{self.suffix}\n{self.tests}\n"


def load_problems(path: Path) -> list[Problem]:
    """Reads a .jsonl file, compressed or not. Raises BenchmarkFileError."""
    data = path.read_bytes()
    if data.startswith(GZIP_MAGIC):
        data = gzip.decompress(data)
    problems = []
    for number, line in enumerate(data.decode().splitlines(), 1):
        if not line.strip():
            continue
        try:
            problems.append(problem_of(json.loads(line)))
        except json.JSONDecodeError as error:
            raise BenchmarkFileError(f"{path.name}, line {number}: not JSON ({error})") from error
        except BenchmarkFileError as error:
            raise BenchmarkFileError(f"{path.name}, line {number}: {error}") from error
    if not problems:
        raise BenchmarkFileError(f"{path.name} has no problems")
    twice = [id_ for id_, count in Counter(problem.id for problem in problems).items() if count > 1]
    if twice:
        raise BenchmarkFileError(f"{path.name} has {twice[0]!r} more than once")
    return problems


def problem_of(record: object) -> Problem:
    """One line of a file. Raises BenchmarkFileError."""
    if isinstance(record, dict) and "task_id" in record:
        fields = text_fields(record, "task_id", "entry_point", "prompt", "suffix", "canonical_solution", "test")
        id_, entry_point, prefix, suffix, solution, test = fields
        # the published test defines check(candidate)
        tests = f"{test}\ncheck({entry_point})"
        return Problem(id_, id_.split("/", 1)[0], "python", prefix, suffix, solution, tests, strip=False)
    if isinstance(record, dict) and "name" in record:
        fields = text_fields(record, "name", "language", "prompt", "suffix", "canonical_solution", "tests")
        name, short, prefix, suffix, solution, tests = fields
        if short not in LANGUAGES:
            raise BenchmarkFileError(f"language is {short!r}, expected one of {', '.join(LANGUAGES)}")
        language = LANGUAGES[short]
        # the same function is cut at several lines, under one name
        id_ = f"{language}/{name}/{len(prefix)}-{len(suffix)}"
        return Problem(id_, language, language, prefix, suffix, solution, tests, strip=True)
    raise BenchmarkFileError("expected an object with task_id (HumanEval-Infilling) or name (SantaCoder)")


def text_fields(record: dict, *names: str) -> list[str]:
    wrong = [name for name in names if not isinstance(record.get(name), str)]
    if wrong:
        raise BenchmarkFileError(f"{', '.join(wrong)}: expected text")
    return [record[name] for name in names]
