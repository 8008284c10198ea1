"""
llama-cpp-python's server as an engine for tests, with the prefix stream of `small`. pip compiles it, which takes minutes and a C++ compiler, so
that happens on request alone: LLAMA_CPP=build python -m pytest test/python/test_llama_cpp.py
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from conftest import ROOT
from tiny_engine import wait_until_healthy

PACKAGE = "llama-cpp-python[server]==0.3.36"
FOLDER = ROOT / "build/llama-cpp"
PYTHON = FOLDER / "bin/python"
# Written when it is installed, with what.
INSTALLED = FOLDER / "installed.txt"
LIBRARY_ONLY = ROOT / "bench/peers/llama-cpp/library-only.cmake"


def install() -> str | None:
    """Compiles it if that is asked for. None when it can be run, otherwise why it cannot."""
    if INSTALLED.exists() and INSTALLED.read_text() == PACKAGE:
        return None
    if os.environ.get("LLAMA_CPP") != "build":
        return "llama-cpp-python is not compiled: LLAMA_CPP=build does it, which takes minutes"
    environment = {**os.environ, "CMAKE_ARGS": f"-DLLAVA_BUILD=OFF -DCMAKE_PROJECT_llama.cpp_INCLUDE={LIBRARY_ONLY}"}
    pip = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for command in (
        [sys.executable, "-m", "venv", str(FOLDER)],
        [*pip, "--no-binary", "llama-cpp-python", PACKAGE],
        [str(PYTHON), "-c", "import llama_cpp.server.app"],
    ):
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if ran.returncode != 0:
            return f"llama-cpp-python cannot be compiled here: {(ran.stderr.strip().splitlines() or ['no reason'])[-1]}"
    INSTALLED.write_text(PACKAGE)
    return None


@contextmanager
def serving(gguf: Path, port: int) -> Iterator[str]:
    """The base URL of the engine. Raises RuntimeError when it does not start."""
    options = ["--model", str(gguf), "--model_alias", "small-gguf", "--n_ctx", "512", "--n_threads", "1"]
    command = [str(PYTHON), "-m", "llama_cpp.server", *options, "--host", "127.0.0.1", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True) as engine:
        try:
            wait_until_healthy(engine, f"http://127.0.0.1:{port}/v1/models")
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            engine.terminate()
