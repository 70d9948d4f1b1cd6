"""What a request costs in steps: instructions and allocations as callgrind counts them, system calls as strace does.

Time depends on the machine and on what else it does; these numbers hardly do, so that a test can hold them. One process
without a supervisor serves a FastCGI client, which sends a whole request at once, and the next one when the answer is there.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "system"))

from harness import fastcgi, keys
from harness.process import Process, children_of, clean_environment, free_port, short_directory, wait_until
from harness.sim import Simulator
from harness.sluice import BINARY

SETTINGS = {
    "WORKERS": 0,
    "OPENAI_API_KEY": keys.UPSTREAM,
    "CLIENT_API_KEYS": keys.CLIENT,
    "RATE_LIMIT__REQUESTS_PER_MINUTE": 1000000000,
    "RATE_LIMIT__TOKENS_PER_MINUTE": 1000000000,
    "RATE_LIMIT__CONCURRENT_REQUESTS": 100,
    "LOG_LEVEL": "info",
    # The libraries choose their code by the processor; these make it the same on most.
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-AVX512F,-AVX512VL,-ERMS,-FSRM,-BMI2,-RTM",
    "OPENSSL_ia32cap": "~0x200000200000000:~0x20000128",
}
MESSAGES = [
    {"role": "system", "content": "You are a helpful assistant. Answer in one sentence."},
    {"role": "user", "content": "What does a sluice do, and why would one build it in front of a river of tokens?"},
]
FEW, MANY = 10, 110  # events of a stream


def _chat(**fields):
    return {"model": "gpt-4o-mini", "messages": MESSAGES, **fields}


def _stream(events):
    return _chat(stream=True, metadata={"sim": f"events={events};pace=3"})


class Kind:
    """One sort of request: a body, what must be in its answer, and how many make a batch."""

    def __init__(self, body, batch, path="/v1/chat/completions", cache="BYPASS"):
        self.body, self.batch, self.path, self.cache = body, batch, path, cache


KINDS = {
    "chat": Kind(_chat(), 20),
    "hit": Kind(_chat(temperature=0, seed=7), 20, cache="HIT"),
    "embeddings, 16 hits": Kind({"model": "text-embedding-3-small", "input": [f"text {i}" for i in range(16)]}, 10,
                                "/v1/embeddings", cache="HIT"),
    "prompt of 1 MiB": Kind(_chat(user="u" * 8, messages=[{"role": "user", "content": "A word. " * 131072}]), 4),
    f"stream of {FEW} events": Kind(_stream(FEW), 8, cache=None),
    f"stream of {MANY} events": Kind(_stream(MANY), 2, cache=None),
}


def _connect(path):
    """None before somebody listens there."""
    try:
        return fastcgi.Connection(path, timeout=120)
    except (FileNotFoundError, ConnectionRefusedError):
        return None


class Counted:
    """A Sluice under a tool that counts, and a connection to it."""

    def __init__(self, prefix):
        self.directory = short_directory()
        self.simulator = Simulator(self.directory)
        path = self.directory / "s"
        values = {**SETTINGS, "OPENAI_BASE_URL": self.simulator.base_url, "STATE_DIR": self.directory / "state",
                  "CACHE__REDIS_URL": f"redis://127.0.0.1:{free_port()}"}
        command = [*(part.format(directory=self.directory) for part in prefix), BINARY, "--listen", f"unix:{path}"]
        self.process = Process("sluice", command, self.directory / "log", clean_environment(**values), cwd=self.directory)
        try:
            self.connection = wait_until(lambda: self.process.must_live() and _connect(path), "sluice's socket", 120)
            for kind in KINDS.values():
                for _ in range(2):
                    self.ask(kind, check=False)
        except BaseException:
            self.stop()
            raise

    def ask(self, kind, check=True):
        self.connection.send(fastcgi.request(kind.body, flags=fastcgi.KEEP, path=kind.path))
        answer = self.connection.answer()
        assert answer.status == 200 and answer.complete, answer
        if check and kind.cache:
            assert answer.headers.get("x-cache", "BYPASS") == kind.cache, answer.headers

    def batch(self, kind):
        for _ in range(kind.batch):
            self.ask(kind)
        time.sleep(0.05)  # its log line and its books

    def stop(self):
        for child in children_of(self.process.pid):  # strace does not heed the signal; its end follows its child's
            os.kill(child, signal.SIGTERM)
        try:
            self.process.stop(seconds=60)
        except AssertionError as failure:
            print(failure, file=sys.stderr)
        self.simulator.stop()
        shutil.rmtree(self.directory, ignore_errors=True)


class Missing(Exception):
    """A tool is not here, or the system does not let it work."""


# ---- callgrind --------------------------------------------------------------------------------------------------

CALLGRIND = ["valgrind", "-q", "--tool=callgrind", "--callgrind-out-file={directory}/profile"]
ALLOCATORS = re.compile(r"^(mi_)?(malloc|calloc|realloc|reallocarray|aligned_alloc|posix_memalign)$")


def _command(process, *words):
    """Tells callgrind something while the program runs."""
    try:
        done = subprocess.run(["vgdb", f"--pid={process.pid}", "--wait=5", *words], capture_output=True, text=True, timeout=60,
                              check=False)
    except subprocess.TimeoutExpired as failure:
        raise Missing("vgdb gets no answer of valgrind") from failure
    if done.returncode != 0:
        raise Missing(f"vgdb cannot reach valgrind: {done.stderr.strip()[-300:]}")


def _read_profile(path):
    """Instructions in all, and calls of the allocator's functions."""
    names, total, calls, callee = {}, None, 0, ""
    for line in path.read_text(errors="replace").splitlines():
        if line.startswith("cfn="):
            number, _, name = line[4:].partition(" ")
            callee = names.setdefault(number, name)
        elif line.startswith("fn="):
            number, _, name = line[3:].partition(" ")
            if name:
                names[number] = name
        elif line.startswith("calls=") and ALLOCATORS.match(callee.partition("'")[0]):
            calls += int(line[6:].split()[0])
        elif line.startswith("totals:"):
            total = int(line.split()[1])
    assert total is not None, f"no totals in {path}"
    return total, calls


def instructions(rounds):
    """By kind: the least of the rounds, since what a clock sets off comes in addition."""
    if not shutil.which("valgrind") or not shutil.which("vgdb"):
        raise Missing("valgrind is not installed (scripts/install-deps bench)")
    counted, found, number = Counted(CALLGRIND), {}, 0
    try:
        if not os.access(f"/proc/{counted.process.pid}/environ", os.R_OK):
            raise Missing("only root can look into a process of Sluice: callgrind cannot be asked")
        for name, kind in KINDS.items():
            each = []
            for _ in range(rounds):
                _command(counted.process, "zero")
                counted.batch(kind)
                _command(counted.process, "dump")
                number += 1
                profile = counted.directory / f"profile.{number}"
                wait_until(profile.exists, "callgrind's profile", 30)
                each.append([value / kind.batch for value in _read_profile(profile)])
            found[name] = {"instructions": min(one[0] for one in each), "allocations": min(one[1] for one in each)}
    finally:
        counted.stop()
    return found


# ---- strace -----------------------------------------------------------------------------------------------------

STRACE = ["strace", "-f", "-qq", "-o", "{directory}/calls"]


def _calls(text):
    """How often each call begins in these lines."""
    found = {}
    for line in text.splitlines():
        call = re.match(r"\d+ +(\w+)\(", line)
        if call:
            found[call[1]] = found.get(call[1], 0) + 1
    return found


def system_calls(rounds):
    """By kind: how many a request, and which."""
    if not shutil.which("strace"):
        raise Missing("strace is not installed (scripts/install-deps bench)")
    try:
        counted = Counted(STRACE)
    except AssertionError as failure:
        raise Missing(f"strace does not work here: {failure}") from failure
    found, log = {}, counted.directory / "calls"
    try:
        for name, kind in KINDS.items():
            best = None
            for _ in range(rounds):
                before = log.stat().st_size
                counted.batch(kind)
                calls = _calls(log.read_text(errors="replace")[before:])
                total = sum(calls.values())
                if best is None or total < best[0]:
                    best = total, calls
            found[name] = {"system_calls": best[0] / kind.batch,
                           "calls": {call: round(count / kind.batch, 2) for call, count in
                                     sorted(best[1].items(), key=lambda item: -item[1])}}
    finally:
        counted.stop()
    return found


# ---- together ---------------------------------------------------------------------------------------------------

FIGURES = ("instructions", "allocations", "system_calls")


def measure(rounds):
    """Every figure by kind, and why some could not be taken."""
    found, missing = {name: {} for name in KINDS}, []
    for part in (instructions, system_calls):
        try:
            for name, figures in part(rounds).items():
                found[name].update(figures)
        except Missing as failure:
            missing.append(str(failure))
    few, many = found.pop(f"stream of {FEW} events"), found.pop(f"stream of {MANY} events")
    found["stream, without its events"] = {
        figure: few[figure] - FEW * (many[figure] - few[figure]) / (MANY - FEW) for figure in FIGURES if figure in few}
    found["stream, an event"] = {figure: (many[figure] - few[figure]) / (MANY - FEW) for figure in FIGURES if figure in few}
    return found, missing
