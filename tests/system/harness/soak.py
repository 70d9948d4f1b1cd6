"""Reloads and upgrades while requests and streams are under way, and what must not come of it."""

import asyncio
import json
import time

import httpx

from . import keys, secrets
from .bodies import chat
from .process import children_of, descriptors_of, wait_until
from .replaceable import Replaceable
from .sluice import SANITIZED
from .sse import contents_of, data_of, words

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


class Soak(Replaceable):
    def __init__(self, front, workers=2, clients=12):
        super().__init__()
        self.start(front, WORKERS=workers)
        self.workers = workers
        self.load = Load(self.stack.origin, clients)

    def settle(self):
        """Only the serving workers are left."""
        wait_until(lambda: len(children_of(self.sluice.process.pid)) == self.workers, "the end of the former workers", 60)

    def run(self, reloads, upgrades, pause=0.0):
        """Spreads the upgrades over the reloads, under load; gives numbers, or raises."""
        supervisor = self.sluice.process.pid
        began = time.monotonic()

        def work():
            for number in range(reloads):
                if upgrades and number % max(1, reloads // upgrades) == 0 and self.seen("upgraded") < upgrades:
                    self.upgrade()
                self.reload()
                time.sleep(pause)
            wait_until(lambda: self.load.requests > 2 * self.load.clients, "requests of all clients", 120, 0.05)

        self.stack.post(json=chat())
        before = descriptors_of(supervisor), max(map(descriptors_of, self.sluice.workers()))
        asyncio.run(self.load.run(work))
        self.settle()
        time.sleep(1)
        after = descriptors_of(supervisor), max(map(descriptors_of, self.sluice.workers()))
        lines = self.sluice.log_lines()
        return {
            "seconds": round(time.monotonic() - began, 1),
            "reloads": self.seen("reloaded"),
            "upgrades": self.seen("upgraded"),
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
