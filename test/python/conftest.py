"""A running service for the tests of Python's clients, started as `npm start` starts it."""

import os
import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread, Timer

import openai
import pytest

ROOT = Path(__file__).parents[2]
NODE = str(ROOT / "node_modules/.bin/node")

# Bundling, starting workerd and storing the model on a machine that does other things as well.
START_TIMEOUT_S = 180

# Only a working copy whose model is still being trained may leave these tests out.
NO_MODEL_YET = not (ROOT / "models/nano/model.safetensors").exists() and os.environ.get("CI") != "true"


@pytest.fixture(scope="session")
def service_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the service with the models of this repository."""
    if NO_MODEL_YET:
        pytest.skip("there is no model yet")
    port = free_port()
    state = str(tmp_path_factory.mktemp("state"))
    command = [NODE, "scripts/start.ts", "--port", str(port), "--state", state, "--model", "nano,small"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        try:
            wait_until_serving(server)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


@pytest.fixture(scope="session")
def worker_bundle() -> None:
    """The self-hosted worker, bundled."""
    if NO_MODEL_YET:
        pytest.skip("there is no model yet")
    subprocess.run([NODE, "scripts/build-self-hosted.ts"], cwd=ROOT, check=True, capture_output=True)


@pytest.fixture
def client(service: str) -> openai.OpenAI:
    """OpenAI's client of the `service` of a module."""
    return openai.OpenAI(base_url=f"{service}/v1", api_key="none", max_retries=0)


@pytest.fixture
def direct(engine: str) -> openai.OpenAI:
    """The same of the `engine` behind it."""
    return openai.OpenAI(base_url=engine, api_key="none", max_retries=0)


@contextmanager
def self_hosted(variables: dict[str, str], models: Path = ROOT / "models", *options: str) -> Iterator[str]:
    """The address of the worker in plain workerd, as `npm run serve` starts it; needs `worker_bundle`."""
    with self_hosted_process(variables, models, *options) as (url, _):
        yield url


@contextmanager
def self_hosted_process(
    variables: dict[str, str], models: Path = ROOT / "models", *options: str
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Like `self_hosted`, with the process, so that a test can stop it."""
    port = free_port()
    command = [NODE, "scripts/serve.ts", "--port", str(port), "--models", str(models), *options]
    environment = {**os.environ, **variables}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as server:
        try:
            wait_until_serving(server)
            yield f"http://127.0.0.1:{port}", server
        finally:
            server.terminate()


def wait_until_serving(server: subprocess.Popen[str]) -> None:
    """Raises RuntimeError when the process ends, or is ended after a while, before it serves."""
    timer = Timer(START_TIMEOUT_S, server.terminate)
    timer.start()
    try:
        if not any(re.search(r"(^|\"message\":\")serving .*on http", line) for line in server.stdout):
            raise RuntimeError("the service did not start")
    finally:
        timer.cancel()
    # It logs a line for each request, and would block when the pipe is full.
    Thread(target=lambda: server.stdout.read(), daemon=True).start()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
