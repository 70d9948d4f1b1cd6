"""Hostile peers on the FastCGI socket, one by one and all at once: they get what is theirs, and nobody else notices."""

import concurrent.futures
import contextlib
import hashlib
import os
import resource
import threading
import time

import pytest

from harness import fastcgi, keys, secrets
from harness.hostile import ATTACKS, Peer
from harness.process import memory_of, short_directory, wait_until
from harness.sim import Simulator
from harness.sluice import SANITIZED, Sluice

IDLE = 400 if SANITIZED else 3000
MEMORY_MAX = 128 << 20
"""Of a worker among all of them at once: mostly what 20 of them do not read, at 128 KiB and an event each."""


class Server:
    def __init__(self):
        self.directory = short_directory()
        self.sim = Simulator(self.directory)
        self.sluice = Sluice(self.directory, OPENAI_BASE_URL=self.sim.base_url, OPENAI_API_KEY=keys.UPSTREAM,
                             CLIENT_API_KEYS=keys.CLIENT, LOG_LEVEL="warning")
        (self.worker,) = wait_until(self.sluice.workers, "the worker")
        self.address = self.sluice.socket

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.worker}/fd"))

    def stop(self):
        self.sluice.stop()
        self.sim.stop()
        secrets.remove_directory(self.directory)


@pytest.fixture(scope="module")
def server():
    server = Server()
    yield server
    server.stop()


class WellBehaved(threading.Thread):
    """Asks without pause, each time with another body, and looks whether the answer is to that. problems says what was not."""

    def __init__(self, address):
        super().__init__()
        self.address, self.ended, self.problems, self.asked, self.slowest = address, threading.Event(), [], 0, 0.0

    def run(self):
        while not self.ended.is_set():
            began, body = time.monotonic(), os.urandom(200 + self.asked % 3000)
            try:
                answer = fastcgi.ask(self.address, body, path="/v1/fine_tuning/unknown")
                if answer.status != 200 or answer.json()["body_sha256"] != hashlib.sha256(body).hexdigest():
                    self.problems.append(repr(answer))
            except (OSError, AssertionError, ValueError) as problem:
                self.problems.append(repr(problem))
            self.asked += 1
            self.slowest = max(self.slowest, time.monotonic() - began)


@contextlib.contextmanager
def others(server, count=3):
    """Well-behaved clients beside what happens within; then everything is as it was."""
    fastcgi.ask(server.address, b"{}", path="/v1/fine_tuning/unknown")
    clients = [WellBehaved(server.address) for _ in range(count)]
    before = server.descriptors()
    for client in clients:
        client.start()
    try:
        yield clients
    finally:
        for client in clients:
            client.ended.set()
        for client in clients:
            client.join()
    assert not any(client.problems for client in clients), [client.problems[:3] for client in clients]
    assert all(client.asked > 0 for client in clients)
    assert server.sluice.workers() == [server.worker]
    # A client or an attack has a connection of its own upstream, which may be kept.
    wait_until(lambda: server.descriptors() <= before + 300, "the connections' end")


def tell(clients, memory):
    """Shown by pytest -s: what was measured is no limit."""
    slowest = 1000 * max(client.slowest for client in clients)
    print(f"{sum(client.asked for client in clients)} requests beside, the slowest {slowest:.1f} ms, {memory / 2**20:.1f} MiB")


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_alone(server, attack):
    peer = Peer(server.address)
    with others(server, 1):
        attack(peer)
        peer.close()


def test_all_at_once(server):
    peers = [Peer(server.address) for attack in ATTACKS for _ in range(2)]
    with others(server) as clients:
        with concurrent.futures.ThreadPoolExecutor(len(peers)) as pool:
            done = [pool.submit(attack, peer) for attack, peer in zip(ATTACKS * 2, peers, strict=True)]
            failures = [error for error in (one.exception() for one in done) if error]
        memory = memory_of(server.worker)
        asked = [client.asked for client in clients]
        wait_until(lambda: all(client.asked > before for client, before in zip(clients, asked, strict=True)),
                   "answers beside what is kept", 30)
        for peer in peers:
            peer.close()
    assert not failures, failures[:3]
    assert SANITIZED or memory < MEMORY_MAX
    tell(clients, memory)


def test_thousands_of_idle_connections(server):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < IDLE + 200:
        pytest.skip(f"only {hard} descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, IDLE + 200)), hard))
    peer, before = Peer(server.address), memory_of(server.worker)
    try:
        with others(server) as clients:
            for number in range(IDLE):
                peer.connect(fastcgi.begin()[:8] if number % 2 else b"")
            wait_until(lambda: server.descriptors() > IDLE, "the connections")
            memory = memory_of(server.worker) - before
            peer.close()
        tell(clients, memory)
        assert SANITIZED or memory < IDLE * 8192
    finally:
        peer.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
