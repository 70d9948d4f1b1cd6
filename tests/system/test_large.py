"""Large bodies pass in constant memory, both ways, and whoever is slow holds back the other side.

SLUICE_LARGE_MIB tells how large; the default is enough to see a body that is held.
"""

import hashlib
import os
import threading
import time

import httpx
import pytest

from harness import keys, streaming_front
from harness.errors import error_of
from harness.process import memory_of
from harness.sluice import SANITIZED
from harness.stack import Stack

MIB = 1 << 20
SIZE = int(os.environ.get("SLUICE_LARGE_MIB", 64)) * MIB
GROWTH = (400 if SANITIZED else 2) * MIB  # the sanitizer keeps 256 MiB of what was freed
PATIENCE = 2
"""How long the upstream may take nothing of a body, in seconds."""
FRONTS = ["lighttpd"] if SANITIZED else ["lighttpd", streaming_front.NAME]
PATTERN = bytes(range(251)) * 4096
"""What the simulator's binary bodies consist of: byte i is i % 251."""


@pytest.fixture(scope="module", params=FRONTS)
def large_stack(request):
    """One worker, which has served a little of everything, so that what it needs anyway is not taken for growth."""
    stack = Stack(request.param, WORKERS=1, UPSTREAM__FIRST_BYTE_SECONDS=PATIENCE)
    try:
        for _ in range(3):
            upload(stack, 3 * MIB)
            download(stack, 3 * MIB)
        yield stack
    finally:
        stack.stop()


@pytest.fixture
def large(large_stack):
    large_stack.sim.reset()
    return large_stack


class Memory:
    """How much the worker has grown at most, looked at often."""

    def __init__(self, stack):
        (self.worker,) = stack.sluice.workers()
        self.before = self.most = memory_of(self.worker)
        self.done = threading.Event()
        self.watch = threading.Thread(target=self.look, daemon=True)

    def look(self):
        while not self.done.wait(0.01):
            self.most = max(self.most, memory_of(self.worker))

    def __enter__(self):
        self.watch.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.watch.join()

    @property
    def grown(self):
        return self.most - self.before


def pieces(size):
    for start in range(0, size, len(PATTERN)):
        yield PATTERN[:size - start]


def digest_of(size):
    digest = hashlib.sha256()
    for piece in pieces(size):
        digest.update(piece)
    return digest.hexdigest()


class Form:
    """A multipart body with one file of this size, without holding it. sent: how much a web server has taken."""

    head = (b'--x\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
            b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n')
    tail = b"\r\n--x--\r\n"

    def __init__(self, size):
        self.size, self.sent = size, 0
        self.headers = {"Authorization": f"Bearer {keys.CLIENT}", "Content-Type": "multipart/form-data; boundary=x",
                        "Content-Length": str(len(self.head) + size + len(self.tail))}

    def __iter__(self):
        yield self.head
        for piece in pieces(self.size):
            yield piece
            self.sent += len(piece)
        yield self.tail


def upload(stack, size):
    form = Form(size)
    return stack.http.post("/v1/files", content=iter(form), headers=form.headers, timeout=600)


def download(stack, size):
    """The digest and the size of what arrived."""
    digest, got = hashlib.sha256(), 0
    with stack.http.stream("GET", f"/v1/files/file-1/content?sim=size%3D{size}", timeout=600,
                           headers={"Authorization": f"Bearer {keys.CLIENT}"}) as answer:
        assert answer.status_code == 200
        for piece in answer.iter_raw(MIB):
            digest.update(piece)
            got += len(piece)
    return digest.hexdigest(), got


def report(what, stack, memory, began):
    print(f"\n{what} of {SIZE // MIB} MiB through {stack.front.name}: grown by {memory.grown // 1024} KiB, "
          f"{time.monotonic() - began:.1f} s")


def test_an_upload(large):
    began = time.monotonic()
    with Memory(large) as memory:
        answer = upload(large, SIZE)
    report("upload", large, memory, began)
    made = answer.json()
    assert (answer.status_code, made["bytes"]) == (200, SIZE)
    assert made["sha256"] == digest_of(SIZE)
    assert memory.grown < GROWTH


def test_a_download(large):
    began = time.monotonic()
    with Memory(large) as memory:
        digest, got = download(large, SIZE)
    report("download", large, memory, began)
    assert (digest, got) == (digest_of(SIZE), SIZE)
    assert memory.grown < GROWTH


def test_the_official_client_uploads_and_downloads(large, tmp_path):
    path = tmp_path / "file.bin"
    path.write_bytes(b"".join(pieces(8 * MIB)))
    client = large.client()
    made = client.files.create(file=path, purpose="batch")
    assert made.bytes == 8 * MIB
    assert client.files.content(made.id).read() == (PATTERN * 9)[:8 * MIB]


def test_a_slow_reader_holds_back_a_download(large):
    size = max(SIZE, 64 * MIB)
    with Memory(large) as memory, large.http.stream(
            "GET", f"/v1/files/file-1/content?sim=size%3D{size}", headers={"Authorization": f"Bearer {keys.CLIENT}"}) as answer:
        before = large.sim.stats()["bytes_out"]
        incoming = answer.iter_raw(MIB)
        next(incoming)
        time.sleep(1)
        taken = large.sim.stats()["bytes_out"] - before
        assert taken < 40 * MIB, "it is held back, but for what the sockets' buffers take"
        assert sum(len(piece) for piece in incoming) > 60 * MIB
    assert memory.grown < GROWTH


def test_an_upstream_that_reads_slowly_holds_back_an_upload(large):
    size = 24 * MIB
    large.sim.default("read-pace=2")
    form = Form(size)
    with Memory(large) as memory:
        answer = large.http.post("/v1/files", content=iter(form), headers=form.headers, timeout=60)
    assert (answer.status_code, answer.json()["sha256"]) == (200, digest_of(size))
    assert memory.grown < GROWTH


def test_an_upstream_that_reads_nothing_holds_back_an_upload(large):
    """lighttpd takes the body into a file before; this nginx passes it on, so that the client itself is held back."""
    large.sim.default("hang=accept")
    form = Form(64 * MIB)
    answers = []
    sender = threading.Thread(target=lambda: answers.append(
        large.http.post("/v1/files", content=iter(form), headers=form.headers, timeout=30)))
    with Memory(large) as memory:
        sender.start()
        time.sleep(PATIENCE / 2)
        sent = form.sent
        sender.join()
    assert memory.grown < GROWTH
    assert sent < 40 * MIB or not large.front.name.startswith("nginx")
    assert (answers[0].status_code, error_of(answers[0])["code"]) == (504, "upstream_timeout")
    large.sim.default("")
    assert upload(large, MIB).status_code == 200


def test_many_uploads_at_once(large):
    answers = []

    def one():
        with httpx.Client(base_url=large.origin, trust_env=False, timeout=60) as client:
            form = Form(4 * MIB)
            answers.append(client.post("/v1/files", content=iter(form), headers=form.headers).json()["sha256"])

    threads = [threading.Thread(target=one) for _ in range(8)]
    with Memory(large) as memory:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == [digest_of(4 * MIB)] * 8
    assert memory.grown < 8 * GROWTH
