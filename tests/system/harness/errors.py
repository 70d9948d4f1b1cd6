"""Errors in OpenAI's form, and answers to requests that no HTTP library would send."""

import socket

import httpx

IRE = "invalid_request_error"


def error_of(answer):
    """The error of an answer that must have OpenAI's form."""
    assert answer.headers["content-type"].startswith("application/json"), answer.headers
    body = answer.json()
    assert list(body) == ["error"], body
    error = body["error"]
    assert set(error) == {"message", "type", "param", "code"}, error
    assert isinstance(error["message"], str) and error["message"]
    assert isinstance(error["type"], str)
    return error


def raw(stack, text):
    """Sends bytes as they are and returns the whole answer."""
    with socket.create_connection(("127.0.0.1", stack.front.port), timeout=20) as connection:
        connection.sendall(text)
        received = b""
        while block := connection.recv(65536):
            received += block
    head, _, body = received.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = [tuple(line.split(": ", 1)) for line in lines[1:]]
    return httpx.Response(int(lines[0].split()[1]), headers=headers, content=body)
