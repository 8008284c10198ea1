"""Runs one Python program with almost no rights; started by sandbox.py, never imported. Linux only.

    python -I -S confine.py LIMITS_AS_JSON FOLDER PROGRAM

1. own user, network, process and IPC namespaces (user_namespaces(7)): no network, not even the loopback interface, and
   every remaining process of the program is killed when the first one ends
2. limits of the processes (setrlimit(2)): CPU seconds, bytes of memory, size and number of files, number of processes
3. Landlock (landlock(7)): files can be changed in FOLDER and nowhere else

If the kernel refuses one of them, this prints one line `confine: …` on the standard error and exits with NOT_CONFINED,
unless the limits allow partial confinement ("partial").
"""

import ctypes
import json
import os
import resource
import signal
import struct
import sys

NOT_CONFINED = 97  # an exit status that is unlikely for a test program
CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x08000000, 0x10000000, 0x20000000, 0x40000000
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38
LANDLOCK_CREATE_RULESET, LANDLOCK_ADD_RULE, LANDLOCK_RESTRICT_SELF = 444, 445, 446  # the same on every architecture
LANDLOCK_CREATE_RULESET_VERSION, LANDLOCK_RULE_PATH_BENEATH = 1, 1
# LANDLOCK_ACCESS_FS_*: write a file, remove and make everything (1 << 4 to 1 << 12), and by version of the interface
# refer (2), truncate (3)
WRITES = (1 << 1) | sum(1 << bit for bit in range(4, 13))
REFER, TRUNCATE = 1 << 13, 1 << 14
NOBODY = 65534

libc = ctypes.CDLL(None, use_errno=True)


def called(what: str, result: int) -> int:
    """The result of a C call. Raises OSError where it failed."""
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result


def leave_namespaces() -> None:
    if os.getuid() == 0:
        # the kernel counts no processes of root; the effective user stays, to read what root may read
        os.setresuid(NOBODY, -1, -1)
    flags = CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWIPC
    called("unshare", libc.unshare(flags))


def die_with_parent() -> None:
    called("prctl", libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0))


def limit_resources(limits: dict) -> None:
    for name, value in (
        ("RLIMIT_CPU", limits["cpu_seconds"]),
        ("RLIMIT_AS", limits["memory_bytes"]),
        ("RLIMIT_FSIZE", limits["file_bytes"]),
        ("RLIMIT_NOFILE", limits["open_files"]),
        ("RLIMIT_NPROC", limits["processes"]),
        ("RLIMIT_CORE", 0),
    ):
        resource.setrlimit(getattr(resource, name), (value, value))


def write_only_below(folder: str) -> None:
    """Landlock: allows changes only in one folder. Rights that are not handled here, such as reading, stay allowed."""
    version = called("landlock", libc.syscall(LANDLOCK_CREATE_RULESET, None, 0, LANDLOCK_CREATE_RULESET_VERSION))
    handled = WRITES | (REFER if version >= 2 else 0) | (TRUNCATE if version >= 3 else 0)
    attribute = struct.pack("Q", handled)
    ruleset = called("landlock", libc.syscall(LANDLOCK_CREATE_RULESET, attribute, len(attribute), 0))
    for path, allowed in ((folder, handled), (os.devnull, WRITES & (1 << 1))):
        beneath = os.open(path, os.O_PATH)
        rule = struct.pack("=Qi", allowed, beneath)
        called("landlock", libc.syscall(LANDLOCK_ADD_RULE, ruleset, LANDLOCK_RULE_PATH_BENEATH, rule, 0))
        os.close(beneath)
    called("prctl", libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    called("landlock", libc.syscall(LANDLOCK_RESTRICT_SELF, ruleset, 0))
    os.close(ruleset)


def wait_as_init(child: int) -> None:
    """The first process of the namespace: ends with the status of its child, which also ends all other processes."""
    while True:
        pid, status = os.wait()
        if pid == child:
            # not by the same signal: the first process of a namespace takes none from inside
            os._exit(os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))


def main() -> None:
    limits, folder, program = json.loads(sys.argv[1]), sys.argv[2], sys.argv[3]
    os.chdir(folder)
    steps = [leave_namespaces, lambda: write_only_below(folder)]
    die_with_parent()
    for step in steps:
        try:
            step()
        except OSError as error:
            print(f"confine: {error}", file=sys.stderr, flush=True)
            if not limits["partial"]:
                os._exit(NOT_CONFINED)
    child = os.fork()  # into the namespace of processes, as its first one
    if child:
        wait_as_init(child)
    die_with_parent()
    inner = os.fork()
    if inner:
        wait_as_init(inner)
    die_with_parent()
    limit_resources(limits)
    os.execv(sys.executable, [sys.executable, "-I", "-B", program])


if __name__ == "__main__":
    main()
