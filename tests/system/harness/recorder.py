"""A raw FastCGI server that writes down each record it gets, with its time: what a web server really sends.

As a program: recorder.py LOG [--listen unix:/path | HOST:PORT]; without --listen it takes descriptor 0. It answers when
the body has ended, or with "early" in the query as soon as the head has come, with events that "events" and "pace"
(milliseconds) in the query ask for. The log has a JSON object a line, times in microseconds of CLOCK_MONOTONIC.
"""

import asyncio
import json
import socket
import struct
import sys
import time
import urllib.parse

BEGIN, ABORT, END, PARAMS, STDIN, STDOUT = 1, 2, 3, 4, 5, 6
NAMES = {BEGIN: "begin", ABORT: "abort", PARAMS: "params", STDIN: "stdin", 9: "get_values"}


def now_us():
    return time.monotonic_ns() // 1000


def pairs(content):
    """The name-value pairs of PARAMS."""
    result, at = {}, 0

    def length():
        nonlocal at
        if content[at] < 128:
            at += 1
            return content[at - 1]
        at += 4
        return struct.unpack(">I", content[at - 4 : at])[0] & 0x7FFFFFFF

    while at < len(content):
        name_length, value_length = length(), length()
        name, value = content[at : at + name_length], content[at + name_length : at + name_length + value_length]
        result[name.decode("latin-1")] = value.decode("latin-1")
        at += name_length + value_length
    return result


class Recorder:
    def __init__(self, log):
        self.log = open(log, "a", buffering=1)
        self.connections = 0

    def note(self, connection, what, **more):
        self.log.write(json.dumps({"t": now_us(), "connection": connection, "what": what, **more}) + "\n")

    async def serve(self, reader, writer):
        self.connections += 1
        number, answers = self.connections, []
        self.note(number, "open")
        try:
            await self.read_records(number, reader, writer, answers)
        except (asyncio.IncompleteReadError, ConnectionError) as end:
            self.note(number, "reset" if isinstance(end, ConnectionError) else "eof")
        for answer in answers:
            answer.cancel()
        writer.close()

    async def read_records(self, number, reader, writer, answers):
        params, keep = b"", False
        while True:
            _, kind, request, length, padding = struct.unpack(">BBHHBx", await reader.readexactly(8))
            content = (await reader.readexactly(length + padding))[:length]
            if kind == BEGIN:
                params, keep = b"", bool(content[2] & 1)
                self.note(number, "begin", keep=keep, request=request)
            elif kind == PARAMS and content:
                params += content
            elif kind == PARAMS:
                variables = pairs(params)
                self.note(number, "params", variables=variables)
                query = urllib.parse.parse_qs(variables.get("REQUEST_URI", "").partition("?")[2], keep_blank_values=True)
                if "early" in query:
                    answers.append(asyncio.ensure_future(self.answer(number, writer, request, query, keep)))
            else:
                self.note(number, NAMES.get(kind, str(kind)), length=length)
                if kind == STDIN and not content and "early" not in query:
                    answers.append(asyncio.ensure_future(self.answer(number, writer, request, query, keep)))

    async def answer(self, number, writer, request, query, keep):
        def send(kind, content):
            writer.write(struct.pack(">BBHHBx", 1, kind, request, len(content), 0) + content)

        try:
            count, pace = (float(query.get(name, ["0"])[0]) for name in ("events", "pace"))
            send(STDOUT, b"Status: 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
            for _ in range(int(count)):
                await asyncio.sleep(pace / 1000)
                send(STDOUT, b"data: %d\n\n" % now_us())
                await writer.drain()
            send(STDOUT, b"")
            await writer.drain()
            self.note(number, "answered")  # before the client can know of it: what comes later belongs to its next request
            send(END, bytes(8))
            await writer.drain()
            if not keep:
                writer.close()
        except ConnectionError:
            self.note(number, "write failed")


def open_socket(arguments):
    if not arguments:
        return socket.socket(fileno=0)
    address = arguments[1]
    if address.startswith("unix:"):
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(address.removeprefix("unix:"))
    else:
        host, _, port = address.rpartition(":")
        listening = socket.create_server((host, int(port)))
    return listening


async def main(log, arguments):
    recorder, listening = Recorder(log), open_socket(arguments)
    start = asyncio.start_unix_server if listening.family == socket.AF_UNIX else asyncio.start_server
    async with await start(recorder.serve, sock=listening) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2:]))
