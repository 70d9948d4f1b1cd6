"""Processes that a test starts: each with a log of its own, ended by its own id."""

import os
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from . import secrets

ROOT = Path(__file__).resolve().parents[3]


def wait_until(condition, what, seconds=10.0, pause=0.01):
    """Returns the first true value of condition(); fails, naming what was waited for, after the given time."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(pause)


def free_port():
    """A port that is free on both loopback addresses now."""
    for _ in range(50):
        with socket.socket() as four:
            four.bind(("127.0.0.1", 0))
            port = four.getsockname()[1]
            try:
                with socket.socket(socket.AF_INET6) as six:
                    six.bind(("::1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no free port")


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as six:
            six.bind(("::1", 0))
        return True
    except OSError:
        return False


def short_directory():
    """Short, because the path of a unix socket may have 107 bytes and pytest's own directories are long."""
    return Path(tempfile.mkdtemp(prefix="sl-", dir="/tmp"))


def clean_environment(**extra):
    """What a child gets: nothing of the caller's that Sluice or a client could take for a setting."""
    keep = ("PATH", "HOME", "LANG", "TMPDIR")
    environment = {name: os.environ[name] for name in keep if name in os.environ}
    if os.geteuid() == 0:
        environment["RUN_AS"] = "root"  # the tests' folders are open to nobody else; test_user.py is about the others
    environment["PATH"] = environment.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin"
    environment.update({name: str(value) for name, value in extra.items() if value is not None})
    return environment


class Process:
    """A child whose output goes to a file."""

    def __init__(self, name, command, log, environment=None, cwd=None):
        self.name = name
        self.log = Path(log)
        self._file = open(self.log, "ab")
        environment = environment if environment is not None else clean_environment()
        secrets.is_output(self.log)
        secrets.note_settings(environment)
        self._child = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=self._file,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=cwd,
            start_new_session=True,
        )

    @property
    def pid(self):
        return self._child.pid

    @property
    def status(self):
        return self._child.poll()

    def text(self):
        return self.log.read_text(errors="replace")

    def must_live(self):
        if self.status is not None:
            raise AssertionError(f"{self.name} ended with {self.status}:\n{self.text()[-4000:]}")
        return True

    def send(self, number):
        if self.status is None:
            os.kill(self.pid, number)

    def stop(self, number=signal.SIGTERM, seconds=20.0):
        """Ends the process and returns its status; kills it when it does not go by itself."""
        self.send(number)
        try:
            status = self._child.wait(seconds)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
            raise AssertionError(f"{self.name} did not end within {seconds} s of signal {number}") from None
        finally:
            self._file.close()
        return status


def children_of(pid):
    """The ids of a process's living children."""
    try:
        ids = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [int(child) for child in ids if state_of(int(child)) not in (None, "Z")]


def state_of(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return None


def memory_of(pid):
    """Resident bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"process {pid} has no memory")


def descriptors_of(pid):
    """How many descriptors a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def sockets_of(pid):
    """How many sockets a process has open."""
    count = 0
    for entry in os.listdir(f"/proc/{pid}/fd"):
        try:
            count += os.readlink(f"/proc/{pid}/fd/{entry}").startswith("socket:")
        except OSError:
            pass
    return count


def growth_of(pid, work, at_most, batches=6):
    """Bytes by which a process has grown in the last of some batches of the same work; the first that grew by no more than
    at_most is the last. What is lost is lost in each; what an allocator keeps for itself, it takes once, whenever that is."""
    for _ in range(batches):
        before = memory_of(pid)
        work()
        grown = memory_of(pid) - before
        if grown <= at_most:
            break
    return grown
