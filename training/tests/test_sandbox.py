"""Tries everything that the sandbox forbids. Every limit is small, so that nothing here can harm the machine
even if the sandbox is broken: a memory bomb stops at 600 MB, a fork bomb at 40 processes."""

import getpass
import os
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from training.benchmarks.sandbox import Limits, Outcome, SandboxError, run_program

LIMITS = Limits(cpu_seconds=1, wall_seconds=30.0, memory_bytes=256 * 2**20)


def run(source: str, **changes) -> Outcome:
    return run_program(textwrap.dedent(source), Limits(**{**vars(LIMITS), **changes}))


@pytest.fixture(autouse=True, scope="module")
def needs_namespaces():
    """These tests may be skipped only in containers without user namespaces, and never in CI."""
    try:
        run("pass")
    except SandboxError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))


def test_a_program_passes_when_it_reaches_its_end():
    assert run("assert sorted([2, 1]) == [1, 2]") == Outcome(True, "passed")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("assert 1 == 2", "AssertionError"),
        ("raise ValueError('no')", "ValueError: no"),
        ("def f(:", "SyntaxError: invalid syntax"),
        ("import sys; sys.exit(3)", "exit status 3"),
    ],
)
def test_a_program_that_fails_says_why(source, reason):
    assert run(source) == Outcome(False, reason)


@pytest.mark.parametrize("leave", ["import sys; sys.exit(0)", "import os; os._exit(0)", "raise SystemExit"])
def test_leaving_before_the_tests_is_not_passing(leave):
    assert run(f"{leave}\nassert False") == Outcome(False, "ended before its tests did")


def test_a_name_that_the_program_has_taken_does_not_keep_it_from_passing():
    assert run("open = None\n__builtins__ = {}").passed


def test_an_endless_loop_is_ended_by_its_processor_time():
    assert run("while True: pass") == Outcome(False, "timed out")


def test_waiting_is_ended_by_the_clock():
    assert run("import time\ntime.sleep(60)", wall_seconds=1.0) == Outcome(False, "timed out")


def test_memory_is_limited():
    found = run("""
        held = []
        for _ in range(60):
            held.append(bytearray(10 * 2**20))
        """)
    assert found == Outcome(False, "MemoryError")


def test_processes_are_limited():
    found = run("""
        import os, time
        started = 0
        try:
            while started < 40:
                if os.fork() == 0:
                    time.sleep(60)
                started += 1
        except BlockingIOError:
            pass
        raise SystemExit(f"{'few' if started < 8 else 'many'} processes")
        """)
    assert found == Outcome(False, "few processes")


def test_remaining_processes_die_with_the_program(tmp_path):
    """Even one that has left the process group and the session."""
    name = f"left-behind-{os.getpid()}"
    found = run(f"""
        import os, sys
        if os.fork() == 0:
            os.setsid()
            os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(60)", {name!r}])
        """)
    assert found.passed
    running = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not any(name.encode() in command for command in running)


def test_a_program_can_write_into_its_own_folder():
    assert run("open('notes', 'w').write('x')\nassert open('notes').read() == 'x'").passed


def test_files_are_limited_in_size():
    found = run("with open('large', 'wb') as file:\n    file.write(bytes(2 * 2**20))")
    assert found == Outcome(False, "OSError: [Errno 27] File too large")


@pytest.mark.parametrize(
    "harm",
    ["open(path, 'w')", "open(path, 'a').write('x')", "os.remove(path)", "os.rename(path, path + '2')",
     "os.mkdir(path + '.d')", "os.truncate(path, 0)"],
)  # fmt: skip
def test_nothing_outside_its_folder_can_be_changed(harm, tmp_path):
    tmp_path.chmod(0o777)
    canary = tmp_path / "canary"
    canary.write_text("alive")
    canary.chmod(0o666)
    found = run(f"import os\npath = {str(canary)!r}\n{harm}")
    assert not found.passed
    assert found.reason.startswith(("PermissionError", "OSError: [Errno 18]"))
    assert [path.name for path in tmp_path.iterdir()] == ["canary"]
    assert canary.read_text() == "alive"


def test_the_folder_is_gone_afterwards():
    before = set(Path("/tmp").glob("benchmark-*"))
    run("open('notes', 'w').write('x')")
    assert set(Path("/tmp").glob("benchmark-*")) <= before


def test_there_is_no_network():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        found = run(f"import socket\nsocket.create_connection(('127.0.0.1', {port}), timeout=5)")
    assert found == Outcome(False, "OSError: [Errno 101] Network is unreachable")


def test_processes_outside_cannot_be_seen_or_signalled():
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as other:
        found = run(f"import os\nos.kill({other.pid}, 9)")
        alive = other.poll() is None
        other.kill()
    assert found == Outcome(False, "ProcessLookupError: [Errno 3] No such process")
    assert alive


def test_the_environment_does_not_reach_the_program(monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", getpass.getuser())
    assert run("import os\nassert 'SECRET_TOKEN' not in os.environ").passed


def test_a_machine_that_cannot_confine_runs_nothing(monkeypatch, tmp_path):
    """Unless partial confinement is allowed."""
    from training.benchmarks import sandbox

    inside = tmp_path / "confine.py"
    broken = "def leave_namespaces() -> None:\n    raise OSError(1, 'unshare: not here')\n\n\ndef unused"
    inside.write_text(sandbox.CONFINE.read_text().replace("def leave_namespaces", broken))
    monkeypatch.setattr(sandbox, "CONFINE", inside)
    with pytest.raises(SandboxError, match="unshare: not here"):
        run("pass")
    assert run("pass", partial=True, processes=4096).passed
