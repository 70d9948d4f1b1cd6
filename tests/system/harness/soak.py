"""Reloads and upgrades while requests and streams are under way, and what must not come of it."""

import asyncio
import json
import os
import shutil
import signal
import time
from pathlib import Path

import httpx

from . import keys, secrets
from .bodies import chat
from .process import children_of, short_directory, wait_until
from .sluice import BINARY, SANITIZED
from .sse import contents_of, data_of, words
from .stack import Stack

STREAM = {**chat("events=12;pace=25"), "stream": True}
WHOLE = chat("delay=15")


class Load:
    """Clients that ask without pause until told to stop. failures says what went wrong."""

    def __init__(self, origin, clients):
        self.origin, self.clients = origin, clients
        self.requests, self.failures = 0, []
        self.stopped = False

    async def _ask(self, client, number):
        while not self.stopped:
            stream = number % 2 == 0
            began = time.monotonic()
            try:
                answer = await client.post("/v1/chat/completions", json=STREAM if stream else WHOLE)
                problem = self._problem(answer, stream)
            except httpx.HTTPError as error:
                problem = repr(error)
            self.requests += 1
            if problem:
                self.failures.append(f"{'stream' if stream else 'request'} after {time.monotonic() - began:.3f} s: {problem}")

    @staticmethod
    def _problem(answer, stream):
        if answer.status_code != 200:
            return f"{answer.status_code} {answer.text[:200]}"
        try:
            if stream:
                assert contents_of(data_of(answer.content)) == words(12)
            else:
                assert json.loads(answer.content)["object"] == "chat.completion"
        except (AssertionError, ValueError, KeyError) as error:
            return f"not whole: {error!r} {answer.text[-200:]}"
        return None

    async def run(self, meanwhile):
        """Runs while `meanwhile`, an ordinary function, runs in a thread."""
        headers = {"Authorization": f"Bearer {keys.CLIENT}"}
        limits = httpx.Limits(max_connections=self.clients)
        async with httpx.AsyncClient(base_url=self.origin, headers=headers, trust_env=False, timeout=60,
                                     limits=limits) as client:
            tasks = [asyncio.create_task(self._ask(client, number)) for number in range(self.clients)]
            try:
                return await asyncio.to_thread(meanwhile)
            finally:
                self.stopped = True
                await asyncio.gather(*tasks)


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


class Soak:
    """A stack whose program is a copy, so that it can be replaced by another one."""

    def __init__(self, front, workers=2, clients=12):
        self.place = short_directory()
        self.place.chmod(0o711)
        self.binary = Path(shutil.copy(BINARY, self.place / "sluice"))
        self.stack = Stack(front, binary=self.binary, WORKERS=workers, LOG_LEVEL="info")
        self.sluice, self.workers = self.stack.sluice, workers
        self.load = Load(self.stack.origin, clients)
        self._read_to, self._counts = 0, {"reloaded": 0, "upgraded": 0}

    def count(self, event):
        """How often the log names an event. Only what is new is read: the log grows long."""
        with open(self.sluice.process.log, "rb") as log:
            log.seek(self._read_to)
            new = log.read()
        new = new[: new.rfind(b"\n") + 1]
        self._read_to += len(new)
        for name in self._counts:
            self._counts[name] += new.count(b'"event":"%s"' % name.encode())
        return self._counts[event]

    def _signal(self, number, event):
        before = self.count(event)
        self.sluice.process.send(number)
        wait_until(lambda: self.sluice.process.must_live() and self.count(event) > before, event, 30)

    def reload(self):
        self._signal(signal.SIGHUP, "reloaded")

    def upgrade(self):
        """A new file under the old name, as a package manager puts it there."""
        shutil.copy(BINARY, self.place / "sluice.new")
        os.rename(self.place / "sluice.new", self.binary)
        self._signal(signal.SIGUSR2, "upgraded")

    def settle(self):
        """Only the serving workers are left."""
        wait_until(lambda: len(children_of(self.sluice.process.pid)) == self.workers, "the end of the former workers", 60)

    def run(self, reloads, upgrades, pause=0.0):
        """Spreads the upgrades over the reloads, under load; gives numbers, or raises."""
        supervisor = self.sluice.process.pid
        began = time.monotonic()

        def work():
            for number in range(reloads):
                if upgrades and number % max(1, reloads // upgrades) == 0 and self.count("upgraded") < upgrades:
                    self.upgrade()
                self.reload()
                time.sleep(pause)

        self.stack.post(json=chat())
        before = descriptors(supervisor), max(map(descriptors, self.sluice.workers()))
        asyncio.run(self.load.run(work))
        self.settle()
        time.sleep(1)
        after = descriptors(supervisor), max(map(descriptors, self.sluice.workers()))
        lines = self.sluice.log_lines()
        return {
            "seconds": round(time.monotonic() - began, 1),
            "reloads": self.count("reloaded"),
            "upgrades": self.count("upgraded"),
            "requests": self.load.requests,
            "failures": self.load.failures,
            "workers that died": [line for line in lines if line["event"] == "worker_died"],
            "supervisor's descriptors": (before[0], after[0]),
            "a worker's descriptors": (before[1], after[1]),
            "processes": 1 + len(children_of(supervisor)),
            "requests still at the upstream": self.stack.sim.stats()["active"],
        }

    def check(self, numbers):
        assert not numbers["failures"], (len(numbers["failures"]), numbers["failures"][:5])
        assert not numbers["workers that died"], numbers["workers that died"][:3]
        before, after = numbers["supervisor's descriptors"]
        assert after <= before, f"the supervisor had {before} descriptors, and has {after}"
        before, after = numbers["a worker's descriptors"]
        assert after <= before + 2 * self.load.clients, f"a worker had {before} descriptors, and has {after}"
        assert numbers["processes"] == 1 + self.workers
        assert numbers["requests still at the upstream"] == 0

    def stop(self):
        try:
            self.stack.stop()
        finally:
            secrets.remove_directory(self.place)


SHORT = (6, 1) if SANITIZED else (30, 3)
