"""Mixed traffic from several threads: what is asked is drawn by a seed, what came of it is told to an account (account.py)."""

import http.client
import itertools
import json
import random
import socket
import threading
from dataclasses import dataclass, field

from . import keys

CHAT, EMBEDDINGS, RESPONSES, MODELS = "/v1/chat/completions", "/v1/embeddings", "/v1/responses", "/v1/models"
SOME_MODELS = ["gpt-4o-mini", "gpt-4o"]
CLIENTS = 12
NOTHING = {"sim": "delay=0"}
"""Says that nothing is to be special: what says nothing takes the next of the simulator's queue."""
SILENCE = "events=2;pace=120000"
"""A stream of one event, and then nothing for longer than a test lasts."""


@dataclass
class Job:
    """One request, and what is known of its outcome before it is made."""

    kind: str
    path: str = CHAT
    body: dict | None = None
    key: str | None = keys.CLIENT
    method: str = "POST"
    headers: dict = field(default_factory=dict)
    raw: bytes | None = None
    status: int = 200
    end: str | None = None       # None: as the answer says
    error: str | None = None     # Sluice's own, by its name in the metrics
    failures: list = field(default_factory=list)  # (kind, status) of each attempt upstream that fails
    attempts: int = 1            # where it goes upstream
    leaves: bool = False

    @property
    def stream(self):
        return bool(self.body and self.body.get("stream"))

    def content(self):
        if self.raw is not None:
            return self.raw
        return json.dumps(self.body).encode() if self.body is not None else None


@dataclass
class Reply:
    status: int | None  # None: there was no answer
    headers: dict = field(default_factory=dict)
    body: bytes = b""
    whole: bool = True

    @property
    def events(self):
        return [line[6:].decode() for line in self.body.split(b"\n") if line.startswith(b"data: ")]

    def error(self):
        return json.loads(self.body)["error"]


def chat(text, sim="", **fields):
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": text}], "metadata": {"sim": sim} if sim else NOTHING}
    return {**body, **fields}


def repeatable(text, sim="", **fields):
    return chat(text, sim, temperature=0, seed=7, **fields)


class Script:
    """The jobs of a run in their order, the same ones for the same seed. A group's members follow each other, so that
    they are under way at the same time."""

    def __init__(self, limited_requests, limited_tokens, limited_concurrent, seed=8):
        self.chance = random.Random(seed)
        self.names = itertools.count()
        self.limited = {"requests": limited_requests, "tokens": limited_tokens, "concurrent": limited_concurrent}
        self.makers = [  # a share of the requests, and who makes one group of them
            (30, self.asked_again), (13, self.asked_once), (15, self.plain), (10, self.streamed), (3, self.together),
            (4, self.embedded), (2, self.models), (2, self.responses), (3, self.over_requests), (3, self.over_tokens),
            (0.6, self.over_concurrent), (3, self.wrong_upstream), (1, self.mended), (1, self.broken_off),
            (1, self.left), (3, self.refused), (1, self.health),
        ]

    def jobs(self, count):
        jobs = []
        shares, makers = zip(*self.makers)
        while len(jobs) < count:
            jobs += self.chance.choices(makers, shares)[0]()
        return jobs[:count]

    def new_text(self):
        return f"question {next(self.names)} {'word ' * self.chance.randint(0, 40)}"

    def client(self):
        return self.chance.choice([keys.CLIENT, keys.OTHER_CLIENT])

    def model(self):
        return self.chance.choice(SOME_MODELS)

    def stream_options(self):
        return {"stream": True, **self.chance.choice([{}, {"stream_options": {"include_usage": True}}])}

    # ---- the cache ----

    def asked_again(self):
        fields = self.chance.choice([{}, {}, self.stream_options()])
        text = f"often asked {self.chance.randrange(150)}"
        return [Job("again", body=repeatable(text, "events=5", **fields), key=self.client())]

    def asked_once(self):
        fields = self.chance.choice([{}, self.stream_options()])
        return [Job("once", body=repeatable(self.new_text(), "events=4", **fields), key=self.client())]

    def together(self):
        fields = self.chance.choice([{}, self.stream_options()])
        sim, status, failures = self.chance.choice([("events=6;first=40;pace=5", 200, []), ("events=6;delay=40", 200, []),
                                                    ("status=400;delay=40", 400, [("status", 400)])])
        if status != 200:
            fields = {}
        body = repeatable(self.new_text(), sim, **fields)
        return [Job("together", body=body, status=status, failures=failures) for _ in range(6)]

    def embedded(self):
        text = self.chance.choice([f"phrase {self.chance.randrange(40)}", self.new_text()])
        body = {"model": "text-embedding-3-small", "input": text, "metadata": NOTHING}
        return [Job("embedded", EMBEDDINGS, body, self.client())]

    def models(self):
        return [Job("models", MODELS + "?sim=delay=0", key=self.client(), method="GET")]

    # ---- past the cache ----

    def plain(self):
        body = chat(self.new_text(), model=self.model(), max_tokens=self.chance.randint(1, 50))
        return [Job("plain", body=body, key=self.client())]

    def streamed(self):
        body = chat(self.new_text(), f"events={self.chance.randint(2, 20)}", model=self.model(), **self.stream_options())
        return [Job("streamed", body=body, key=self.client())]

    def responses(self):
        body = {"model": self.model(), "input": self.new_text(), "max_output_tokens": self.chance.randint(16, 30),
                "metadata": NOTHING, "stream": self.chance.random() < 0.5}
        return [Job("responses", RESPONSES, body, self.client())]

    # ---- limits ----

    def _limited(self, kind, sim="", count=1):
        return [Job("limited", body=chat(self.new_text(), sim), key=self.limited[kind], status=0) for _ in range(count)]

    def over_requests(self):
        return self._limited("requests")

    def over_tokens(self):
        return self._limited("tokens")

    def over_concurrent(self):
        return self._limited("concurrent", "delay=40", 6)

    # ---- an upstream that fails ----

    def wrong_upstream(self):
        status = self.chance.choice([400, 404, 429, 500, 503])
        attempts = 1 if status in (400, 404) else 3
        return [Job("wrong", body=chat(self.new_text(), f"status={status}", model="never-served"), status=status,
                    failures=[("status", status)] * attempts, attempts=attempts, key=self.client())]

    def mended(self):
        """The first attempts fail. What the simulator's queue says is for the next that says nothing itself: these."""
        failures = [("status", self.chance.choice([500, 502, 503, 429])) for _ in range(self.chance.randint(1, 2))]
        body = chat(self.new_text())
        del body["metadata"]
        return [Job("mended", body=body, failures=failures, attempts=len(failures) + 1)]

    def broken_off(self):
        kind = self.chance.choice(["cut-event=4", "cut=10", "drop=1", "garbage=1"])
        if kind == "cut-event=4":
            return [Job("cut", body=chat(self.new_text(), f"events=10;{kind}", stream=True), end="cut",
                        error="upstream_cut", failures=[("cut", "")])]
        name, attempts = {"cut=10": ("cut", 3), "drop=1": ("unreachable", 3), "garbage=1": ("garbage", 1)}[kind]
        return [Job("broken", body=chat(self.new_text(), kind), status=502, end="upstream_failed", error=f"upstream_{name}",
                    failures=[(name, "")] * attempts, attempts=attempts)]

    # ---- clients ----

    def left(self):
        body = chat(self.new_text(), SILENCE, stream=True)
        return [Job("left", body=body, key=self.client(), end="client_left", leaves=True)]

    def refused(self):
        return [self.chance.choice([
            Job("refused", body=chat("x"), key=keys.WRONG_CLIENT, status=401, end="refused", error="wrong_key"),
            Job("refused", body=chat("x"), key=None, status=401, end="refused", error="no_key"),
            Job("refused", raw=b"{", status=400, end="refused", error="bad_json"),
            Job("refused", body={"messages": []}, status=400, end="refused", error="no_model"),
            Job("refused", "/v2/nothing", {}, status=404, end="refused", error="unknown_url"),
            Job("refused", method="PUT", body=chat("x"), status=405, end="refused", error="wrong_method"),
            Job("refused", body=repeatable(self.new_text()), headers={"Cache-Control": "only-if-cached"}, status=504,
                end="refused", error="not_cached"),
        ])]

    def health(self):
        return [Job("health", "/health", key=None, method="GET", end="local")]


class Connection:
    """A connection that is kept, and made anew where it was given up."""

    def __init__(self, port):
        self.port, self.http = port, None

    def ask(self, job):
        """The whole reply; or, where the client leaves, its first event."""
        self.send(job)
        if job.leaves:
            return self.leave(job)
        answer = self.http.getresponse()
        try:
            body, whole = answer.read(), True
        except http.client.IncompleteRead as part:
            body, whole = part.partial, False
        if not whole or answer.will_close:
            self.close()
        return Reply(answer.status, self.headers_of(answer), body, whole)

    def send(self, job):
        self.http = self.http or http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {"Content-Type": "application/json", **job.headers}
        if job.key:
            headers["Authorization"] = f"Bearer {job.key}"
        self.http.request(job.method, job.path, job.content(), headers)

    def leave(self, job):
        """The simulator says nothing more, so that the reply is exactly what is read here."""
        reply, _ = self.first_event()
        self.close()
        return reply

    def first_event(self):
        answer = self.http.getresponse()
        line = answer.readline() + answer.readline()
        return Reply(answer.status, self.headers_of(answer), line, whole=False), answer

    @staticmethod
    def headers_of(answer):
        return {name.lower(): value for name, value in answer.getheaders()}

    def has_news(self):
        """Whether something waits to be read, if only the end."""
        self.http.sock.setblocking(False)
        try:
            self.http.sock.recv(1, socket.MSG_PEEK)
            return True
        except BlockingIOError:
            return False
        except OSError:
            return True

    def close(self):
        if self.http:
            self.http.close()
        self.http = None


def run(stack, jobs, account, clients=CLIENTS):
    """Makes the requests, each by the next client that is free; fails with the first that was not answered as foreseen."""
    left, lock, mending, failures = iter(jobs), threading.Lock(), threading.Lock(), []

    def work():
        connection = Connection(stack.front.port)
        try:
            while not failures:
                with lock:
                    job = next(left, None)
                if job is None:
                    break
                one(connection, job)
        except BaseException as failure:
            failures.append(failure)
        finally:
            connection.close()

    def one(connection, job):
        if job.kind == "mended":
            with mending:
                stack.sim.queue(*(f"status={status}" for _, status in job.failures))
                account.note(job, connection.ask(job))
        else:
            account.note(job, connection.ask(job))

    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
