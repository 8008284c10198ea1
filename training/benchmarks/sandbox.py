"""Runs a Python program written by a model in a confined process (see confine.py).

It protects the machine from mistakes of a model: endless loops, unlimited memory and processes, changed or removed
files, network access. It does not hide files that the user can read, and does not stop a deliberate attack: for that,
run the benchmark in a virtual machine.
"""

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from training.benchmarks import confine

CONFINE = Path(confine.__file__)
REASON_CHARACTERS = 200
ERROR_BYTES = 4096  # read of what the program wrote to its standard error, from the end


@dataclass(frozen=True)
class Limits:
    """Limits of one program. wall_seconds stops programs that sleep or wait; it is larger than cpu_seconds, so that a
    busy machine fails no program. partial: run even if the kernel refuses a namespace or Landlock."""

    cpu_seconds: int = 5
    wall_seconds: float = 20.0
    memory_bytes: int = 512 * 2**20  # of address space, each process
    file_bytes: int = 2**20  # each file
    open_files: int = 64
    processes: int = 8
    partial: bool = False


@dataclass(frozen=True)
class Outcome:
    """reason: 'passed', 'timed out', or the last line of the standard error."""

    passed: bool
    reason: str


class SandboxError(RuntimeError):
    """This machine cannot confine programs. No program was run."""


def run_program(source: str, limits: Limits = Limits()) -> Outcome:
    """Runs a program until it ends or reaches a limit. It passes if its last line is reached and its status is 0: an
    early exit does not pass. Raises SandboxError."""
    folder = Path(tempfile.mkdtemp(prefix="benchmark-"))
    try:
        return _run_in(folder, source, limits)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run_in(folder: Path, source: str, limits: Limits) -> Outcome:
    reached = f"reached-{secrets.token_hex(8)}"
    last_line = f"\n__import__('builtins').open({reached!r}, 'x').close()\n"
    (folder / "program.py").write_text(source + last_line, encoding="utf-8", errors="surrogatepass")
    command = [sys.executable, "-I", "-S", str(CONFINE), json.dumps(asdict(limits)), str(folder), "program.py"]
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={"PATH": os.defpath, "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1", "HOME": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
        )
        try:
            status: int | None = process.wait(limits.wall_seconds)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            # kills the whole group; processes that left it die with the first process of their namespace
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()
        said = _tail(errors)
    if status == confine.NOT_CONFINED:
        raise SandboxError(f"programs cannot be confined here ({said})")
    if status is None or status in (128 + signal.SIGXCPU, 128 + signal.SIGKILL):
        return Outcome(False, "timed out")
    if status == 0:
        done = (folder / reached).exists()
        return Outcome(done, "passed" if done else "ended before its tests did")
    return Outcome(False, said or f"exit status {status}")


def _tail(file) -> str:
    """The last line of the output."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - ERROR_BYTES))
    lines = file.read().decode("utf-8", "replace").strip().splitlines()
    return lines[-1][:REASON_CHARACTERS] if lines else ""
