"""Mixed load with faults for as long as wanted, and the books at its end.

Clients ask for chats, streams, cached answers, batches of embeddings and uploads, leave in the middle, are refused and limited;
the upstream fails, hangs and cuts as it is told with a request. Meanwhile a fault comes every few seconds. In the first third
all of them come; from then on those that leave one worker, the elder, in peace: its memory and descriptors must not
grow from the middle third to the last.
"""

import asyncio
import json
import os
import random
import re
import shutil
import signal
import statistics
import threading
import time
from collections import Counter
from pathlib import Path

import httpx

from . import keys
from .bodies import chat
from .caching import embeddings, fixed
from .exposition import scrape
from .process import children_of, descriptors_of, state_of, wait_until
from .redis import Redis
from .replaceable import Replaceable
from .sluice import SANITIZED
from .sse import contents_of, data_of, words

CLIENTS, REST_SECONDS, PAUSE_SECONDS = 12, 0.08, 3
LIMIT_A_MINUTE = 120
KINDS = ("chat", "stream", "cached", "cached stream", "embeddings", "upload", "leaver", "limited", "upstream error",
         "cut stream", "reset", "hang", "wrong key", "not json")
CHOICE = [kind for kind, weight in zip(KINDS, (6, 5, 5, 2, 3, 2, 2, 6, 1, 1, 1, 1, 1, 1), strict=True) for _ in range(weight)]
MEMORY_TOLERANCE, MEMORY_SLACK, DESCRIPTOR_SLACK = 1.10, 1 << 20, 24


class Kinds:
    """How each kind is asked, and what is right. Each gives a problem, or None."""

    def __init__(self, client, random_):
        self.client, self.random = client, random_

    async def post(self, body, path="/v1/chat/completions", key=keys.CLIENT, **more):
        content = {"content": body} if isinstance(body, bytes) else {"json": body}
        return await self.client.post(path, headers={"Authorization": f"Bearer {key}"}, **content, **more)

    @staticmethod
    def whole(answer, count=16):
        if answer.status_code != 200:
            return f"{answer.status_code} {answer.text[:300]}"
        text = json.loads(answer.content)["choices"][0]["message"]["content"]
        return None if text == "".join(words(count)) else f"another text: {text[:100]}"

    @staticmethod
    def streamed(answer, count=16):
        if answer.status_code != 200:
            return f"{answer.status_code} {answer.text[:300]}"
        try:
            return None if "".join(contents_of(data_of(answer.content))) == "".join(words(count)) else "another text"
        except (AssertionError, ValueError, KeyError) as problem:
            return f"not whole: {problem!r} {answer.text[-200:]}"

    async def chat(self):
        return self.whole(await self.post(chat("delay=10")))

    async def stream(self):
        return self.streamed(await self.post({**chat("events=12;pace=15"), "stream": True}), 12)

    async def cached(self):
        return self.whole(await self.post(fixed(f"question {self.random.randrange(40)}", sim="delay=20")))

    async def cached_stream(self):
        return self.streamed(await self.post(fixed(f"question {self.random.randrange(40)}", sim="pace=2", stream=True)))

    async def embeddings(self):
        inputs = [f"text {self.random.randrange(500)}" for _ in range(8)]
        answer = await self.post(embeddings(inputs), "/v1/embeddings")
        if answer.status_code != 200:
            return f"{answer.status_code} {answer.text[:300]}"
        indexes = [item["index"] for item in answer.json()["data"]]
        return None if indexes == list(range(8)) else f"other items: {indexes}"

    async def upload(self):
        answer = await self.post(b"x" * 200_000, "/v1/fine_tuning/unknown")
        right = answer.status_code == 200 and answer.json()["body_bytes"] == 200_000
        return None if right else f"{answer.status_code} {answer.text[:300]}"

    async def leaver(self):
        body = {**chat("events=200;pace=20"), "stream": True}
        headers = {"Authorization": f"Bearer {keys.CLIENT}"}
        async with self.client.stream("POST", "/v1/chat/completions", json=body, headers=headers) as answer:
            async for _ in answer.aiter_bytes():
                return None if answer.status_code == 200 else f"{answer.status_code}"
        return "no bytes"

    async def limited(self):
        answer = await self.post(chat(), key=keys.OTHER_CLIENT)
        self.admitted = answer.status_code == 200
        return None if answer.status_code == 429 else self.whole(answer)

    @staticmethod
    def expect(answer, *statuses):
        told = answer.status_code in statuses and "error" in answer.json()
        return None if told else f"{answer.status_code} {answer.text[:300]}"

    async def upstream_error(self):
        return self.expect(await self.post(chat("status=500")), 500)

    async def cut_stream(self):
        answer = await self.post({**chat("cut-event=5"), "stream": True})
        events = data_of(answer.content) if answer.status_code == 200 else []
        return None if events and "error" in json.loads(events[-1]) else f"{answer.status_code} {answer.text[-200:]}"

    async def reset(self):
        return self.expect(await self.post(chat("drop=1;rst=1")), 502)

    async def hang(self):
        return self.expect(await self.post(chat("hang=head")), 504)

    async def wrong_key(self):
        return self.expect(await self.post(chat(), key=keys.WRONG_CLIENT), 401)

    async def not_json(self):
        return self.expect(await self.post(b"{nonsense"), 400)


class Clients:
    def __init__(self, origin, explain):
        self.origin, self.explain = origin, explain
        self.counts, self.explained, self.problems = Counter(), Counter(), []
        self.admitted, self.stopped = 0, False

    async def _work(self, client, number):
        kinds = Kinds(client, random.Random(number))
        while not self.stopped:
            kind = kinds.random.choice(CHOICE)
            began, kinds.admitted = time.monotonic(), False
            try:
                problem = await getattr(kinds, kind.replace(" ", "_"))()
            except (httpx.HTTPError, ValueError, KeyError, AssertionError) as failure:
                problem = repr(failure)
            self.counts[kind] += 1
            self.admitted += kinds.admitted
            if problem and (cause := self.explain(began, time.monotonic(), problem)):
                self.explained[f"{kind}: {cause}"] += 1
            elif problem:
                self.problems.append(f"{kind} after {time.monotonic() - began:.2f} s: {problem}")
            await asyncio.sleep(REST_SECONDS)

    async def run(self, meanwhile):
        limits = httpx.Limits(max_connections=2 * CLIENTS)
        async with httpx.AsyncClient(base_url=self.origin, trust_env=False, timeout=60, limits=limits) as client:
            tasks = [asyncio.create_task(self._work(client, number)) for number in range(CLIENTS)]
            try:
                return await asyncio.to_thread(meanwhile)
            finally:
                self.stopped = True
                await asyncio.gather(*tasks)


def memory(pid):
    """Of the process alone, in bytes: what the state's files take is shared, and theirs."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise OSError("ended")


class Samples(threading.Thread):
    """Memory and descriptors of the supervisor and of the elder worker, every second."""

    def __init__(self, soak):
        super().__init__(daemon=True)
        self.soak, self.rows, self.ended = soak, [], threading.Event()

    def run(self):
        while not self.ended.wait(1):
            for name, pid in (("supervisor", self.soak.supervisor), ("worker", self.soak.elder)):
                try:
                    self.rows.append((time.monotonic(), name, pid, memory(pid), descriptors_of(pid)))
                except (OSError, TypeError):
                    pass

    def mean(self, name, begin, end):
        """(bytes, descriptors) between two moments; of the elder that is there at the end."""
        pid = self.soak.supervisor if name == "supervisor" else self.soak.elder
        rows = [row for row in self.rows if row[1] == name and row[2] == pid and begin <= row[0] < end]
        assert rows, f"no samples of the {name}"
        return round(statistics.median(row[3] for row in rows)), statistics.median(row[4] for row in rows)


class MixedSoak(Replaceable):
    def __init__(self, front="lighttpd"):
        super().__init__()
        self.redis = Redis(self.place)
        self.start(
            front, log=self.place / "requests.log", WORKERS=2, CACHE__ENABLED="true",
            CACHE__REDIS_URL=self.redis.url, RATE_LIMIT__BACKEND="redis", RATE_LIMIT__LEASE_SECONDS=2,
            RATE_LIMIT__OVERRIDES=json.dumps({keys.OTHER_CLIENT: {"requests_per_minute": LIMIT_A_MINUTE}}),
            UPSTREAM__RETRY_BASE_SECONDS="0.01", UPSTREAM__FIRST_BYTE_SECONDS=2, UPSTREAM__MAX_RETRIES=2,
        )
        self.supervisor, self.elder = self.sluice.process.pid, None
        self.clients = Clients(self.stack.origin, self._explain)
        self.lines = Counter()
        self.faults, self.kills, self.shaky = Counter(), [], []
        self.samples = Samples(self)

    # ---- what explains an answer

    def _explain(self, began, ended, problem):
        if any(began <= kill + 0.5 and kill <= ended for kill in self.kills):
            return "its worker was killed"
        if re.match(r"5\d\d ", problem) and any(began <= end and begin <= ended for begin, end in self.shaky):
            return "the upstream failed"
        if '"code":"upstream_unavailable"' in problem or "circuit" in problem:
            return "the breaker was open"
        return None

    # ---- the log

    def note(self, entry):
        super().note(entry)
        if entry["event"] == "request" and entry["path"].startswith("/v1/"):
            self.lines[str(entry.get("status", 0))] += 1

    # ---- the faults

    def rotate(self):
        """The old file is read to its end before it goes: each process writes to the new one when it likes."""
        old = self.log.with_suffix(".1")
        os.rename(self.log, old)
        self.sluice.process.send(signal.SIGUSR1)
        wait_until(self.log.exists, "the new log")
        time.sleep(1)
        new, self.log = self.log, old
        self.read_log()
        self.log = new
        self.read_new_log()
        old.unlink()

    def kill_a_worker(self):
        workers = self.sluice.workers()
        victim = max(pid for pid in workers if pid != self.elder)
        self.kills.append(time.monotonic())
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: len(set(self.sluice.workers()) - {victim}) >= 2, "another worker", 60)

    def pause_redis(self):
        os.kill(self.redis.pid, signal.SIGSTOP)
        time.sleep(1.5)
        os.kill(self.redis.pid, signal.SIGCONT)

    def kill_redis(self):
        self.redis.stop(signal.SIGKILL)
        time.sleep(1.5)
        self.redis.start()

    def shake_upstream(self):
        begin = time.monotonic()
        self.shaky.append((begin, begin + 3600))
        self.stack.sim.default("prob=0.3;status=503")
        time.sleep(1.5)
        self.stack.sim.default("")
        self.shaky[-1] = begin, time.monotonic() + 1

    def _choose_elder(self):
        """When the former workers have gone, one is left in peace from here on."""
        wait_until(lambda: len(self.sluice.workers()) == 2, "the end of the former workers", 60, 0.1)
        self.elder = min(self.sluice.workers())

    def _trouble(self, seconds):
        replacing = [self.reload, self.upgrade]
        lasting = [self.kill_a_worker, self.pause_redis, self.rotate, self.kill_redis, self.shake_upstream]
        began, number = time.monotonic(), 0
        all_faults = [fault for pair in zip(lasting, replacing * 3, strict=False) for fault in pair]
        while (left := began + seconds - time.monotonic()) > 0:
            if self.elder is None and left < seconds * 2 / 3:
                self._choose_elder()
            fault = (all_faults if self.elder is None else lasting)[number % (10 if self.elder is None else 5)]
            fault()
            self.faults[fault.__name__.replace("_", " ")] += 1
            number += 1
            time.sleep(max(0, min(PAUSE_SECONDS, left)))
        return began

    # ---- the whole

    def run(self, minutes):
        """Gives the numbers; check() judges them."""
        state = self.stack.directory / "state"
        self.stack.post(json=fixed())
        self.sluice_files = set(os.listdir(state))
        self.samples.start()
        began = asyncio.run(self.clients.run(lambda: self._trouble(minutes * 60)))
        ended = time.monotonic()
        self.samples.ended.set()
        self.samples.join()
        wait_until(lambda: self.stack.sim.stats()["active"] == 0, "the end of what the upstream does", 30)
        wait_until(lambda: len(self.sluice.workers()) == 2, "two workers", 30)
        time.sleep(3)
        self.read_log()
        page = scrape(self.stack)
        first, second = began + (ended - began) / 3, began + (ended - began) * 2 / 3
        third = {name: (self.samples.mean(name, first + 5, second), self.samples.mean(name, second, ended))
                 for name in ("supervisor", "worker")}
        asked = sum(self.clients.counts.values())
        return {
            "minutes": round((ended - began) / 60, 1),
            "requests": dict(self.clients.counts),
            "asked": asked,
            "logged": sum(self.lines.values()),
            "counted": round(page.sum("sluice_requests_total") - self._own_requests(page)),
            "unexpected": self.clients.problems,
            "explained": dict(self.clients.explained),
            "faults": dict(self.faults),
            "workers that died by themselves": self.events["worker_died"] - len(self.kills),
            "limited requests": self.clients.counts["limited"],
            "admitted of them": self.clients.admitted,
            "allowed of them": self._allowed(ended - began),
            "RssAnon, middle and last third": {name: [pair[0] for pair in both] for name, both in third.items()},
            "descriptors, middle and last third": {name: [pair[1] for pair in both] for name, both in third.items()},
            "new files in the state directory": sorted(set(os.listdir(state)) - self.sluice_files),
        }

    @staticmethod
    def _own_requests(page):
        return sum(value for key, value in page.samples["sluice_requests_total"].items()
                   if dict(key)["endpoint"] in ("health", "metrics", "status"))

    def _allowed(self, seconds):
        """A Redis that was killed has forgotten what was used; one that pauses may not have been told of the last."""
        bursts = 1 + self.faults["kill redis"] + self.faults["pause redis"]
        return int(LIMIT_A_MINUTE * (bursts + seconds / 60)) + 1

    def check(self, numbers):
        assert not numbers["unexpected"], (len(numbers["unexpected"]), numbers["unexpected"][:5])
        assert numbers["workers that died by themselves"] == 0
        assert all(numbers["requests"].get(kind) for kind in KINDS), numbers["requests"]
        # What was under way in a worker that was killed, or was then answered by the web server, is in no book.
        unknown = 2 * CLIENTS * len(self.kills) + 1
        for book in ("logged", "counted"):
            assert abs(numbers["asked"] + 1 - numbers[book]) <= unknown, (book, numbers["asked"], numbers[book], unknown)
        assert numbers["admitted of them"] <= numbers["allowed of them"]
        for name, (middle, last) in numbers["descriptors, middle and last third"].items():
            assert last <= middle + DESCRIPTOR_SLACK, f"{name}: {middle} descriptors, then {last}"
        for name, (middle, last) in numbers["RssAnon, middle and last third"].items():
            assert SANITIZED or last <= middle * MEMORY_TOLERANCE + MEMORY_SLACK, f"{name}: {middle} bytes, then {last}"

    def stop(self):
        """Ends everything; then nothing may be left of it."""
        processes = [self.supervisor, *children_of(self.supervisor)]
        try:
            self.stack.stop()
        finally:
            self.redis.stop()
            shutil.rmtree(self.place, ignore_errors=True)
        left = [pid for pid in processes if state_of(pid) not in (None, "Z")]
        assert not left, f"still there: {left}"
        assert not self.stack.directory.exists()
