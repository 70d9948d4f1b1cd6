"""One call after the other is made to fail, each while one request is under way; and what must not come of it."""

import json
import os

from . import fastcgi
from .bodies import chat
from .caching import embeddings, fixed, unique
from .faults import ERRORS, name_of
from .process import wait_until
from .sse import contents_of, data_of, words

EVERY = int(os.environ.get("SLUICE_FAULTS_EVERY", "7"))
"""Every how many-th call is made to fail; 1: each."""

NUMBERS_MAX, FINDINGS_MAX = 5000, 20


def must(condition, text):
    if not condition:
        raise AssertionError(text)


class Ask:
    """One kind of request: what is sent, and what the right answer is."""

    def __init__(self, name, body, right, **head):
        """body: a function that makes one, or a list of those that are under way at once; right: raises where a 200 is not."""
        self.name, self.body, self.right, self.head = name, body, right, head


def right_chat(answer):
    must(answer.headers.get("content-type", "").startswith("application/json"), "no Content-Type")
    must(int(answer.headers["content-length"]) == len(answer.body), "not as long as it says")
    must(answer.json()["choices"][0]["message"]["content"] == "".join(words(16)), "another text")


def right_stream(answer):
    must(answer.headers.get("content-type", "").startswith("text/event-stream"), "no Content-Type")
    events = data_of(answer.body)
    must(events, "no events")
    if events[-1] != "[DONE]" and "error" in json.loads(events[-1]):
        return  # told in the stream
    must(contents_of(events) == words(16), "other words")


def right_embeddings(count):
    def right(answer):
        must(answer.headers.get("content-type", "").startswith("application/json"), "no Content-Type")
        items = answer.json()["data"]
        must([item["index"] for item in items] == list(range(count)), "other items")
        must(all(item["embedding"] for item in items), "empty items")

    return right


def right_echo(length):
    def right(answer):
        must(answer.headers.get("content-type", "").startswith("application/json"), "no Content-Type")
        must(answer.json().get("body_bytes") == length, f"not {length} bytes")

    return right


def is_openai_error(answer):
    try:
        return set(answer.json()["error"]) == {"message", "type", "param", "code"} and \
            answer.headers["content-type"].startswith("application/json")
    except (ValueError, KeyError, TypeError):
        return False


CHAT = Ask("chat", chat, right_chat)
CHATS = Ask("chats", lambda: [chat("delay=5"), chat("delay=5"), chat("delay=5")], right_chat)
STREAM = Ask("stream", lambda: {**chat(), "stream": True}, right_stream)
UPLOAD = Ask("upload", lambda: b"x" * 150_000, right_echo(150_000), path="/v1/fine_tuning/unknown")
MISS = Ask("miss", fixed, right_chat)
HIT = Ask("hit", lambda request=fixed(): request, right_chat)
MISSED_STREAM = Ask("missed stream", lambda: fixed(stream=True), right_stream)
COALESCED = Ask("coalesced", lambda: [fixed(sim="delay=20")] * 2, right_chat)
BATCH = Ask("batch", lambda: embeddings([unique(), "known"]), right_embeddings(2), path="/v1/embeddings")


class Sweep:
    """A Sluice of one worker, with the interposer."""

    def __init__(self, sluice, faults):
        self.sluice, self.faults = sluice, faults
        (self.worker,) = wait_until(sluice.workers, "the worker")
        faults.watch(self.worker)
        faults.remember(self.worker)
        self.findings, self.failed, self.answers = [], 0, {}

    def _send(self, ask):
        """As many as the kind asks for, all under way at once."""
        bodies, connections = ask.body(), []
        bodies = bodies if isinstance(bodies, list) else [bodies]
        for body in bodies:
            connection = fastcgi.Connection(self.sluice.socket, 10)
            connections.append(connection)
            try:
                connection.send(fastcgi.request(body, **ask.head))
            except (BrokenPipeError, ConnectionResetError):
                pass
        answers = []
        for connection in connections:
            with connection:
                answers.append(connection.answer())
                must(connection.ends(), "the connection stays open")
        return answers

    def _judge(self, ask, answer):
        if not answer.complete:
            return "broken off"
        if answer.status == 200:
            ask.right(answer)
            return "right"
        must(answer.status >= 500 and is_openai_error(answer), f"{answer!r}")
        return f"{answer.status}"

    def _note(self, ask, what, problem):
        self.findings.append(f"{ask.name}, {what}: {problem}\n    at {self.faults.where()}")

    def must_live(self, ask, what):
        if self.sluice.workers() != [self.worker]:
            raise AssertionError(f"{ask.name}, {what}: the worker ended: {self.faults.where()}\n{self.sluice.process.text()[-1500:]}")

    def _one(self, ask, kind, error, number):
        """True where the request had that many calls."""
        what = f"{kind} {number} {name_of(error)}"
        self.faults.arm(kind, error, number)
        try:
            answers = self._send(ask)
            verdicts = [self._judge(ask, answer) for answer in answers]
        except (AssertionError, ValueError, KeyError, TimeoutError) as problem:
            verdicts = ["wrong"]
            self.must_live(ask, what)
            self._note(ask, what, f"{type(problem).__name__} {problem}")
        hit = self.faults.disarm()
        self.must_live(ask, what)
        if not hit:
            must(all(verdict == "right" for verdict in verdicts), f"{ask.name}: {verdicts} without a fault")
            return False
        self.failed += 1
        for verdict in verdicts:
            self.answers[verdict] = self.answers.get(verdict, 0) + 1
        self._next(ask, what)
        return True

    def _next(self, ask, what):
        """The request behind it works."""
        try:
            for answer in self._send(ask):
                must(answer.complete and answer.status == 200, f"then {answer!r}")
                ask.right(answer)
        except (AssertionError, ValueError, KeyError, TimeoutError) as problem:
            self._note(ask, what, f"afterwards {type(problem).__name__} {problem}")

    def run(self, ask, kinds=None, every=EVERY):
        for kind in kinds or ERRORS:
            for place, error in enumerate(ERRORS[kind]):
                number = 1 + place % every
                while number < NUMBERS_MAX and self._one(ask, kind, error, number):
                    number += every
                    if len(self.findings) > FINDINGS_MAX:
                        return

    def settle(self, asks):
        """Good requests of each kind, until nothing changes any longer; gives what is held then."""
        for _ in range(3):
            for ask in asks:
                self._send(ask)
        return self.faults.blocks, self.faults.bytes, len(os.listdir(f"/proc/{self.worker}/fd"))
