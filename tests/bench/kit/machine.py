"""What the figures were measured on, and the processes' use of it."""

import ctypes
import os
import re
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "system"))

from harness.process import ROOT

BUILD = Path(os.environ.get("SLUICE_BENCH_BUILD", ROOT / "build" / "release"))
os.environ.setdefault("SLUICE_BIN", str(BUILD / "sluice"))


def cpu_ns(pids):
    """CPU time of these processes so far; the kernel counts it in nanoseconds."""
    total = 0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            try:
                total += int(task.read_text().split()[0])
            except (FileNotFoundError, ProcessLookupError):
                pass  # a thread that has just ended
    return total


def favour(pid):
    """Gives a session the priority of this process: with autogroups the kernel weighs sessions, not processes."""
    try:
        Path(f"/proc/{pid}/autogroup").write_text(str(os.nice(0)))
    except OSError:
        pass  # no autogroups, or not root


def memory_kib(pids):
    """Resident and proportional memory. The kernel's own, as for sockets, is in neither."""
    found = {"rss": 0, "pss": 0, "private": 0}
    names = {"Rss": "rss", "Pss": "pss", "Private_Clean": "private", "Private_Dirty": "private"}
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except PermissionError:  # Sluice does not let itself be looked into
            sys.exit("the memory of a process of Sluice is for root to see: run this as root")
        for line in lines:
            name = line.partition(":")[0]
            if name in names:
                found[names[name]] += int(line.split()[1])
    return found


def busy_ns():
    """CPU time of the whole machine, everything that is not idle."""
    fields = [int(text) for text in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    idle = fields[3] + fields[4]
    return (sum(fields) - idle) * 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def _first_line(*command):
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "not installed"
    return (result.stdout + result.stderr).strip().partition("\n")[0]


def _version_in(text):
    found = re.search(r"\d+\.\d+[.\w+~-]*", text)
    return found.group(0) if found else text


def _libcurl():
    library = ctypes.CDLL("libcurl.so.4")
    library.curl_version.restype = ctypes.c_char_p
    return library.curl_version().decode().split()[0].partition("/")[2]


def _commit():
    """Of the sources, with "+" where files have been changed since."""
    text = _first_line("git", "-C", str(ROOT), "describe", "--always", "--abbrev=9", "--dirty=+")
    return text if re.fullmatch(r"[\w.+-]+", text) else "unknown"


def describe():
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    system = os.uname()
    return {
        "cpu": cpu.group(1) if cpu else system.machine,
        "cores": os.cpu_count(),
        "kernel": f"{system.sysname} {system.release.partition('-')[0]}",
        "sluice": _version_in(_first_line(str(BUILD / "sluice"), "--version")),
        "libcurl": _libcurl(),
        "commit": _commit(),
        "lighttpd": _version_in(_first_line("lighttpd", "-v")),
        "nginx": _version_in(_first_line("nginx", "-v")),
        "apache": _version_in(_first_line("apache2", "-v")),
        "haproxy": _version_in(_first_line("haproxy", "-v")),
        "redis": _version_in(_first_line("redis-server", "--version")),
    }
