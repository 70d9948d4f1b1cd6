"""Requests that may be cached, and what their answers say about the cache."""

import concurrent.futures
import uuid

from .process import free_port, wait_until
from .redis import Redis
from .stack import Stack

STORES = ["lmdb", "redis"]


def unique():
    """A text that nobody asked about before."""
    return f"What is {uuid.uuid4()}?"


def fixed(text=None, sim=None, **fields):
    """A chat completion that always gets the same answer. The simulator's directive is no part of the cache's key."""
    request = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": text or unique()}], "temperature": 0,
               "seed": 7, **fields}
    if sim:
        request["metadata"] = {"sim": sim}
    return request


def embeddings(inputs=None, sim=None, **fields):
    request = {"model": "text-embedding-3-small", "input": unique() if inputs is None else inputs, **fields}
    if sim:
        request["metadata"] = {"sim": sim}
    return request


def ask(stack, request, control=None, **options):
    """Posts it to the endpoint that it is for; control: its Cache-Control."""
    path = "/v1/embeddings" if "input" in request else "/v1/chat/completions" if "messages" in request else "/v1/completions"
    headers = {"Cache-Control": control} if control else {}
    return stack.post(options.pop("path", path), json=request, headers=headers, **options)


def result(answer):
    assert answer.status_code == 200, answer.text
    return answer.headers["x-cache"]


def results(stack, *requests):
    """X-Cache of each, asked one after the other."""
    return [result(ask(stack, request)) for request in requests]


def at_once(calls):
    """Makes all calls at the same time; the answers in order."""
    with concurrent.futures.ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]


def upstream(stack):
    """How many requests the upstream got."""
    return stack.sim.stats()["requests"]


class CachingStack(Stack):
    """A stack with a cache in LMDB or in a Redis of its own."""

    def __init__(self, store, directory, front="lighttpd", **settings):
        self.redis = Redis(directory) if store == "redis" else None
        url = self.redis.url if self.redis else f"redis://localhost:{free_port()}"
        values = {"WORKERS": 2, "CACHE__ENABLED": "true", "CACHE__REDIS_URL": url, "REDIS__TIMEOUT_MS": 2000, **settings}
        try:
            super().__init__(front, **values)
            if self.redis:
                self.wait_for_redis(True)
        except BaseException:
            self.stop(check=False)
            raise

    def wait_for_redis(self, connected):
        """Each connection of the web server may reach another worker: all must agree."""
        wait_until(lambda: all(self.http.get("/health").json()["redis_connected"] is connected for _ in range(8)),
                   f"redis_connected: {connected}", 20)

    def stop(self, check=True):
        try:
            super().stop(check)
            if self.redis:
                self.redis.check_what_it_holds()
        finally:
            if self.redis:
                self.redis.stop()
