"""A FastCGI client in Python, in place of a web server: what it sends is what the test wrote, byte by byte."""

import json
import socket
import struct

from . import keys

BEGIN, ABORT, END, PARAMS, STDIN, STDOUT, STDERR, DATA, GET_VALUES, GET_VALUES_RESULT, UNKNOWN = range(1, 12)
RESPONDER, KEEP = 1, 1


def record(kind, content=b"", request=1, version=1, padding=0):
    return struct.pack(">BBHHBx", version, kind, request, len(content), padding) + content + bytes(padding)


def begin(request=1, role=RESPONDER, flags=0):
    return record(BEGIN, struct.pack(">HB5x", role, flags), request)


def pair(name, value):
    """One variable, its lengths as short as they can be."""
    sizes = b"".join(bytes([size]) if size < 128 else struct.pack(">I", size | 1 << 31) for size in (len(name), len(value)))
    return sizes + name + value


def pieces(kind, content, request=1, size=65535, padding=0):
    """A stream in records of at most `size` bytes, and its end."""
    parts = [record(kind, content[at : at + size], request, padding=padding) for at in range(0, len(content), size)]
    return b"".join(parts) + record(kind, b"", request)


def variables(path="/v1/chat/completions", method="POST", length=None, key=keys.CLIENT, **more):
    """What a web server says of a request; more: further variables by name."""
    values = {"REQUEST_METHOD": method, "REQUEST_URI": path, "SERVER_PROTOCOL": "HTTP/1.1", "REMOTE_ADDR": "127.0.0.1",
              "CONTENT_TYPE": "application/json", "HTTP_AUTHORIZATION": f"Bearer {key}", **more}
    if length is not None:
        values["CONTENT_LENGTH"] = str(length)
    return b"".join(pair(name.encode(), value.encode()) for name, value in values.items())


def request(body=b"", number=1, flags=0, size=65535, padding=0, **head):
    """A whole request."""
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return (begin(number, flags=flags) + pieces(PARAMS, variables(length=len(body), **head), number, padding=padding)
            + pieces(STDIN, body, number, size, padding))


class Answer:
    """What came back for one request. complete: with the record that ends it."""

    def __init__(self, stdout, complete):
        head, _, self.body = stdout.partition(b"\r\n\r\n")
        lines = [line.split(": ", 1) for line in head.decode("latin-1").split("\r\n") if ": " in line]
        self.headers = {name.lower(): value for name, value in lines}
        self.status = int(self.headers.get("status", "0").split()[0])
        self.complete = complete

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"<{self.status} {'complete' if self.complete else 'broken off'} {self.body[:200]!r}>"


class Connection:
    """One connection to a FastCGI socket: a path, or a port of 127.0.0.1."""

    def __init__(self, address, timeout=20):
        if isinstance(address, int):
            self.socket = socket.create_connection(("127.0.0.1", address), timeout)
        else:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(timeout)
            self.socket.connect(str(address))
        self._held = b""

    def send(self, content):
        self.socket.sendall(content)

    def _take(self, size):
        while len(self._held) < size:
            block = self.socket.recv(65536)
            if not block:
                raise EOFError
            self._held += block
        taken, self._held = self._held[:size], self._held[size:]
        return taken

    def record(self):
        """The next record as (kind, request, content). EOFError: the connection has ended."""
        _, kind, number, length, padding = struct.unpack(">BBHHBx", self._take(8))
        return kind, number, self._take(length + padding)[:length]

    def answer(self):
        """Reads to the end of a request, or of the connection."""
        stdout = b""
        try:
            while True:
                kind, _, content = self.record()
                if kind == STDOUT:
                    stdout += content
                elif kind == END:
                    return Answer(stdout, complete=content[4] == 0)
        except (EOFError, ConnectionError):
            return Answer(stdout, complete=False)

    def ends(self):
        """Whether the other side has closed; waits for it. What still comes is dropped."""
        try:
            while self.socket.recv(65536):
                pass
        except TimeoutError:
            return False
        except ConnectionError:
            pass
        return True

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def ask(address, body=b"", timeout=20, **head):
    """One request on a connection of its own, to the connection's end."""
    with Connection(address, timeout) as connection:
        try:
            connection.send(request(body, **head))
        except (BrokenPipeError, ConnectionResetError):
            pass  # the answer may be there nevertheless
        answer = connection.answer()
        assert connection.ends()
        return answer
