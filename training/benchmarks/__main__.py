"""Public infilling benchmarks against a running service: pass@1, exact match and edit similarity.

    npm start                                        # in another terminal; or any service with OpenAI's /v1/completions
    python -m training.benchmarks --data HumanEval-SingleLineInfilling.jsonl.gz --out training/.runs/single-line.jsonl
    python -m training.benchmarks --data benchmark.jsonl --max-tokens 25 --out training/.runs/santacoder.jsonl

The data are not part of the repository; problems.py says where they are published and describes the format. Tests in
Python are run in a sandbox (sandbox.py), others are not; --no-tests runs none. The same command resumes an interrupted
run. Prints a table, then one line of JSON.
"""

import argparse
import json
import os
import random
import sys
from pathlib import Path

import openai

from training.benchmarks.problems import BenchmarkFileError, load_problems
from training.benchmarks.report import summarize, table
from training.benchmarks.requests import Decoding, Service
from training.benchmarks.run import ResultsOfAnotherRun, run_benchmark
from training.benchmarks.sandbox import Limits, SandboxError

KEY_VARIABLE = "QUICKSILVER_API_KEY"


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m training.benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help=".jsonl or .jsonl.gz")
    parser.add_argument(
        "--out", type=Path, required=True, help="file of results, one JSON line each; an interrupted run is resumed"
    )
    parser.add_argument("--url", default="http://127.0.0.1:8787/v1", help="of the API, up to the version")
    parser.add_argument("--model", default="nano")
    parser.add_argument("--limit", type=int, help="number of problems, drawn with seed 0 (default: all)")
    parser.add_argument("--samples", type=int, default=1, help="completions of each problem")
    parser.add_argument("--concurrency", type=int, default=2, help="requests and tests at a time")
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--top-p", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--max-steps", type=int, help="denoising steps a completion")
    parser.add_argument("--reveal-threshold", type=float)
    parser.add_argument("--edit-threshold", type=float)
    parser.add_argument("--no-tests", action="store_true", help="run no code: no pass@1")
    parser.add_argument("--cpu-seconds", type=int, default=Limits.cpu_seconds, help="of one test program")
    parser.add_argument("--partial-sandbox", action="store_true", help="run code although the kernel cannot confine it")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    options = parse_arguments(arguments)
    decoding = Decoding(
        options.model, options.max_tokens, options.temperature, options.top_p, options.seed,
        options.max_steps, options.reveal_threshold, options.edit_threshold,
    )  # fmt: skip
    limits = None if options.no_tests else Limits(options.cpu_seconds, partial=options.partial_sandbox)
    try:
        problems = load_problems(options.data)
        if options.limit is not None and options.limit < len(problems):
            problems = random.Random(0).sample(problems, options.limit)
        service = Service(options.url, os.environ.get(KEY_VARIABLE, "none"), decoding)
        options.out.parent.mkdir(parents=True, exist_ok=True)
        results = run_benchmark(problems, service, options.out, options.samples, options.concurrency, limits)
    except (BenchmarkFileError, ResultsOfAnotherRun, SandboxError, OSError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
    except openai.OpenAIError as error:
        sys.exit(f"{options.url}: {error} (what was found is in {options.out}; the same command goes on)")
    summary = summarize(problems, results)
    print(table(summary))
    print(json.dumps({"data": options.data.name, "url": options.url, "decoding": vars(decoding), "scores": summary}))


if __name__ == "__main__":
    main()
