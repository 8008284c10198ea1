"""The service against its own description: what schemathesis makes of /openapi.json is answered as it says.

Run: python -m pytest test/python/test_description.py (test/requirements.txt); schemathesis.toml has the checks, the seed and the bounds.
"""

import json
import os
import re
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import self_hosted

CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
HOOKS = Path(__file__).with_name("description_hooks.py")

COMPLETIONS = ("/v1/completions", "/v1/fim/completions", "/infill", "/api/generate")

# Completions of each route that must have been looked at.
MIN_ANSWERS = 50


@pytest.fixture(scope="module")
def worker_url(worker_bundle: None) -> Iterator[str]:
    """The worker itself, without a proxy."""
    with self_hosted({}) as url:
        yield url


def schemathesis(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs in a folder of its own, where it may leave what it likes."""
    program = str(Path(sys.executable).with_name("schemathesis"))
    command = [program, "--config-file", str(CONFIGURATION), "run", *arguments, "--no-color"]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": str(HOOKS)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def answers(worker_url: str) -> Counter[str]:
    """Answers that the service gave to requests that it did not refuse, by route."""
    with urllib.request.urlopen(f"{worker_url}/metrics") as page:
        found = re.findall(
            r'^quicksilver_requests_total{route="(.*)",status="200"} (\d+)$', page.read().decode(), re.MULTILINE
        )
    return Counter({route: int(count) for route, count in found})


def test_every_answer_should_be_as_described(worker_url: str, tmp_path: Path) -> None:
    before = answers(worker_url)
    ran = schemathesis(tmp_path, f"{worker_url}/openapi.json")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "No issues found" in ran.stdout
    # Refusals only would show little.
    given = answers(worker_url) - before
    for route in COMPLETIONS:
        assert given[route] >= MIN_ANSWERS, f"{route}: {given[route]}"


@pytest.fixture
def description(worker_url: str) -> dict:
    with urllib.request.urlopen(f"{worker_url}/openapi.json") as answer:
        return json.load(answer)


class TestAnAnswerThatIsNotAsDescribed:
    """What the test above would say of a service that does not keep to its description."""

    @staticmethod
    def findings(description: dict, worker_url: str, operation: str, folder: Path) -> str:
        file = folder / "openapi.json"
        file.write_text(json.dumps(description))
        only = ("--phases", "coverage", "--mode", "positive", "--include-operation-id", operation)
        ran = schemathesis(folder, str(file), "--url", worker_url, *only, "--max-failures", "1")
        assert ran.returncode == 1, ran.stdout + ran.stderr
        return ran.stdout

    def test_should_be_found_by_a_field(self, description: dict, worker_url: str, tmp_path: Path) -> None:
        description["components"]["schemas"]["Usage"]["properties"]["total_tokens"] = {"type": "string"}
        assert "total_tokens" in self.findings(description, worker_url, "createFimCompletion", tmp_path)

    @pytest.mark.parametrize(
        ("chunk", "operation", "finding"),
        [
            ("FimCompletionChunk", "createFimCompletion", "SSE event violates schema"),
            ("GenerateChunk", "ollamaGenerate", "a line is not as described"),
        ],
    )
    def test_should_be_found_in_a_stream(
        self, description: dict, worker_url: str, tmp_path: Path, chunk: str, operation: str, finding: str
    ) -> None:
        schema = description["components"]["schemas"][chunk]
        description["components"]["schemas"][chunk] = {"allOf": [schema, {"required": ["missing"]}]}
        assert finding in self.findings(description, worker_url, operation, tmp_path)

    def test_should_be_found_by_its_status(self, description: dict, worker_url: str, tmp_path: Path) -> None:
        responses = description["paths"]["/api/tags"]["get"]["responses"]
        responses["299"] = responses.pop("200")
        assert "Undocumented status code" in self.findings(description, worker_url, "ollamaTags", tmp_path)
