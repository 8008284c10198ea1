"""The benchmark runner on a few made-up problems, against a service that answers from a script."""

import gzip
import json
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from training.benchmarks import __main__ as command
from training.benchmarks.problems import BenchmarkFileError, load_problems
from training.benchmarks.report import summarize, table
from training.benchmarks.run import Result

# In the format of HumanEval-Infilling: one line of a function is missing.
DOUBLE = {
    "task_id": "SingleLineInfilling/MadeUp/0/L0",
    "entry_point": "double",
    "prompt": "def double(x):\n",
    "suffix": "\n    return y\n",
    "canonical_solution": "    y = 2 * x",
    "test": "\n\ndef check(candidate):\n    assert candidate(3) == 6\n    assert candidate(-1) == -2\n",
}
GREET = {
    "task_id": "SingleLineInfilling/MadeUp/1/L0",
    "entry_point": "greet",
    "prompt": "def greet(name):\n",
    "suffix": "\n",
    "canonical_solution": "    return 'Hello ' + name",
    "test": "def check(candidate):\n    assert candidate('you') == 'Hello you'\n",
}
LAST = {**GREET, "task_id": "MultiLineInfilling/MadeUp/1/L0-L1", "prompt": "def greet(name):  # politely\n"}
# In the format of SantaCoder's files.
PYTHON = {
    "name": "HumanEval_0_made_up",
    "language": "py",
    "prompt": "def one():\n    return",
    "suffix": "\n",
    "canonical_solution": " 1",
    "tests": "def check(candidate):\n    assert candidate() == 1\n\ncheck(one)\n",
}
JAVASCRIPT = {**PYTHON, "language": "js", "prompt": "const one = () =>", "tests": "require('assert')(one() === 1)"}

RIGHT = {
    DOUBLE["prompt"]: "    y = x + x",  # not what stood there, and yet right
    GREET["prompt"]: "    return 'Hello ' + name",
    LAST["prompt"]: "    return 'Bye ' + name",
    PYTHON["prompt"]: " 1  ",
    JAVASCRIPT["prompt"]: " 1",
}


class Service(ThreadingHTTPServer):
    """Answers a prompt as scripted. `failures`: statuses of the first answers to each prompt."""

    def __init__(self, script: dict[str, str], failures: tuple[int, ...] = ()):
        super().__init__(("127.0.0.1", 0), Handler)
        self.script, self.failures = script, failures
        self.asked: Counter[str] = Counter()
        self.bodies: list[dict] = []
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Service

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with self.server.lock:
            tries = self.server.asked[body["prompt"]]
            self.server.asked[body["prompt"]] += 1
            self.server.bodies.append({"path": self.path, "authorization": self.headers["authorization"], **body})
        if tries < len(self.server.failures):
            return self.answer(self.server.failures[tries], {"error": {"message": "not now"}})
        text = self.server.script.get(body["prompt"])
        if text is None:
            return self.answer(400, {"error": {"message": "not in the script"}})
        choice = {"text": text, "index": 0, "finish_reason": "stop", "logprobs": None}
        usage = {"prompt_tokens": 5, "completion_tokens": 4, "total_tokens": 9}
        usage["quicksilver"] = {"steps": 2, "slot_evaluations": 12}
        head = {"id": "c", "object": "text_completion", "created": 0, "model": body["model"]}
        self.answer(200, {**head, "choices": [choice], "usage": usage})

    def answer(self, status: int, body: dict) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.send_header("retry-after-ms", "1")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def serve():
    """Starts services that end with the test."""
    started = []

    def start(script: dict[str, str], failures: tuple[int, ...] = ()) -> Service:
        service = Service(script, failures)
        threading.Thread(target=service.serve_forever, daemon=True).start()
        started.append(service)
        return service

    yield start
    for service in started:
        service.shutdown()
        service.server_close()


@pytest.fixture
def human_eval(tmp_path):
    path = tmp_path / "HumanEval-SingleLineInfilling.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, (DOUBLE, GREET, LAST))).encode()))
    return path


@pytest.fixture
def santa_coder(tmp_path):
    path = tmp_path / "benchmark.jsonl"
    path.write_text("\n".join(map(json.dumps, (PYTHON, JAVASCRIPT))))
    return path


def run(capsys, *arguments: object) -> tuple[str, dict]:
    """The table and the JSON line that a run prints."""
    command.main([str(argument) for argument in arguments])
    *lines, last = capsys.readouterr().out.strip().splitlines()
    return "\n".join(lines), json.loads(last)


def test_a_run_asks_for_infilling_runs_the_tests_and_prints_scores(serve, human_eval, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("QUICKSILVER_API_KEY", "secret")
    service = serve(RIGHT)
    printed, found = run(
        capsys, "--data", human_eval, "--url", service.url, "--out", tmp_path / "out.jsonl", "--max-steps", 8
    )  # fmt: skip
    asked = {body["prompt"]: body for body in service.bodies}[DOUBLE["prompt"]]
    assert asked["path"] == "/v1/completions"
    assert asked["authorization"] == "Bearer secret"
    assert (asked["suffix"], asked["max_tokens"], asked["temperature"]) == (DOUBLE["suffix"], 64, 0)
    assert asked["max_steps"] == 8
    assert "reveal_threshold" not in asked

    single, multi = found["scores"]["SingleLineInfilling"], found["scores"]["MultiLineInfilling"]
    assert (single["problems"], single["passed"], single["exact_match"]) == (2, 1.0, 0.5)
    assert (multi["problems"], multi["passed"], multi["failures"]) == (1, 0.0, {"AssertionError": 1})
    assert 0 < multi["edit_similarity"] < 1
    assert single["slot_evaluations"] == 12
    assert "| SingleLineInfilling | 2 | 100.0 % [100.0, 100.0] | 50.0 % [0.0, 100.0] |" in printed
    assert "secret" not in (tmp_path / "out.jsonl").read_text()


def test_santa_coder_is_compared_without_white_space_and_run_where_it_is_python(serve, santa_coder, tmp_path, capsys):
    printed, found = run(
        capsys, "--data", santa_coder, "--url", serve(RIGHT).url, "--out", tmp_path / "out.jsonl"
    )  # fmt: skip
    assert found["scores"]["python"]["passed"] == 1
    assert found["scores"]["python"]["exact_match"] == 1
    assert "passed" not in found["scores"]["javascript"]
    assert "| javascript | 1 | – | 100.0 %" in printed


def test_failures_that_pass_are_waited_out(serve, human_eval, tmp_path, capsys):
    service = serve(RIGHT, failures=(503, 429))
    _, found = run(capsys, "--data", human_eval, "--url", service.url, "--out", tmp_path / "out.jsonl", "--no-tests")
    assert set(service.asked.values()) == {3}
    assert found["scores"]["SingleLineInfilling"]["problems"] == 2
    assert "passed" not in found["scores"]["SingleLineInfilling"]


def test_an_interrupted_run_continues_where_it_was(serve, human_eval, tmp_path, capsys):
    out = tmp_path / "out.jsonl"
    arguments = ("--data", human_eval, "--out", out, "--concurrency", 1)
    partial = serve({prompt: text for prompt, text in RIGHT.items() if prompt != LAST["prompt"]})
    with pytest.raises(SystemExit, match="the same command goes on"):
        command.main([*map(str, arguments), "--url", partial.url])
    assert len(out.read_text().splitlines()) == 3  # what it is of, and two results
    out.write_text(out.read_text() + '{"id": "half a li')

    service = serve(RIGHT)
    _, found = run(capsys, *arguments, "--url", service.url)
    assert dict(service.asked) == {LAST["prompt"]: 1}
    assert found["scores"]["SingleLineInfilling"]["passed"] == 1.0
    assert [json.loads(line).get("id") for line in out.read_text().splitlines()[1:]] == [
        DOUBLE["task_id"], GREET["task_id"], LAST["task_id"],
    ]  # fmt: skip


def test_results_of_other_settings_are_not_mixed_in(serve, human_eval, tmp_path, capsys):
    out, url = tmp_path / "out.jsonl", serve(RIGHT).url
    run(capsys, "--data", human_eval, "--url", url, "--out", out, "--no-tests")
    before = out.read_text()
    with pytest.raises(SystemExit, match="of a run with other max_tokens"):
        command.main(
            ["--data", str(human_eval), "--url", url, "--out", str(out), "--no-tests", "--max-tokens", "32"]
        )  # fmt: skip
    assert out.read_text() == before


def test_every_sample_of_a_problem_has_a_seed_of_its_own(serve, human_eval, tmp_path, capsys):
    service = serve(RIGHT)
    _, found = run(
        capsys, "--data", human_eval, "--url", service.url, "--out", tmp_path / "out.jsonl", "--no-tests",
        "--samples", 3, "--temperature", 0.5, "--seed", 7, "--limit", 1,
    )  # fmt: skip
    assert sorted(body["seed"] for body in service.bodies) == [7, 8, 9]
    assert {body["prompt"] for body in service.bodies} <= set(RIGHT)
    (row,) = found["scores"].values()
    assert (row["problems"], row["completions"]) == (1, 3)


def test_pass_at_1_is_the_mean_over_problems_of_the_share_of_samples_that_pass(human_eval):
    problems = load_problems(human_eval)[:2]
    results = [
        Result(problem.id, sample, "", "stop", False, 0.0, passed, "passed" if passed else "timed out", {})
        for problem, outcomes in zip(problems, ((True, False, False, False), (True, True, True, True)))
        for sample, passed in enumerate(outcomes)
    ]
    summary = summarize(problems, results)
    assert summary["SingleLineInfilling"]["passed"] == pytest.approx(0.625)
    assert summary["SingleLineInfilling"]["failures"] == {"timed out": 3}
    assert "62.5 %" in table(summary)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: not JSON"),
        ("[]", "line 2: expected an object with task_id"),
        (json.dumps({**DOUBLE, "task_id": "x", "suffix": None}), "line 2: suffix: expected text"),
        (json.dumps({**PYTHON, "language": "cobol"}), "line 2: language is 'cobol', expected one of py, js, java"),
        (json.dumps(DOUBLE), "'SingleLineInfilling/MadeUp/0/L0' more than once"),
    ],
)
def test_a_file_of_another_format_is_refused_by_line(tmp_path, line, message):
    path = tmp_path / "file.jsonl"
    path.write_text(f"{json.dumps(DOUBLE)}\n{line}\n")
    with pytest.raises(BenchmarkFileError, match=message):
        load_problems(path)


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "file.jsonl").write_text("\n")
    with pytest.raises(BenchmarkFileError, match="has no problems"):
        load_problems(tmp_path / "file.jsonl")
