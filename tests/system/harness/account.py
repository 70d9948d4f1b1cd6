"""What /metrics must say of a run, kept from what clients were given: sample by sample, so that one that is missing, wrong
or too many shows."""

import hashlib
import json
import threading
from collections import Counter

from .traffic import CHAT, EMBEDDINGS, MODELS, RESPONSES

ENDPOINTS = {CHAT: "chat.completions", EMBEDDINGS: "embeddings", RESPONSES: "responses", MODELS: "models",
             "/health": "health", "/metrics": "metrics"}
WRITES = "sluice_cache_writes_total"
"""Counted as one: whether a write was soon enough to be kept is the disk's matter."""
NOT_OF_REQUESTS = ("sluice_log_lines_total", "sluice_redis_", WRITES)
"""Counters that no client can foresee."""
HISTOGRAMS = ("sluice_request_duration_seconds", "sluice_time_to_first_token_seconds", "sluice_inter_token_seconds",
              "sluice_overhead_seconds")
"""Whose number of observations is foreseen."""
REFUSALS = {"requests per min": "requests", "tokens per min": "tokens", "concurrent requests": "concurrent"}


def samples(page):
    """Every counter, and the number of observations of the histograms, without zeros: {(name, labels): value}."""
    found = {}
    if written := page.sum(WRITES):
        found[WRITES, ()] = int(written)
    for name, values in page.samples.items():
        counts = name.endswith("_total") and not name.startswith(NOT_OF_REQUESTS)
        if counts or name.removesuffix("_count") in HISTOGRAMS and name.endswith("_count"):
            found.update({(name, labels): int(value) for labels, value in values.items() if value})
    return found


class Account:
    """aliases: client key -> name."""

    def __init__(self, aliases):
        self.aliases = aliases
        self.expected = Counter()
        self.asked_upstream = 0
        self.upstream_statuses = Counter()
        self.cut_upstream = self.dropped_upstream = 0  # attempts that the simulator broke off; without a byte
        self.tokens = Counter()
        self.broken = 0
        self.lock = threading.Lock()

    def add(self, name, n=1, **labels):
        if n:
            self.expected[name, tuple(sorted(labels.items()))] += n

    # ---- a request that has ended ----

    def note(self, job, reply):
        with self.lock:
            self._note(job, reply)

    def _note(self, job, reply):
        assert job.status in (0, reply.status), f"{job}: {reply}"
        assert reply.status is None or "x-request-id" in reply.headers, f"not Sluice's answer to {job}: {reply}"
        assert reply.whole or job.leaves, f"{job}: {reply}"
        refusal = self._refusal(job, reply)
        endpoint = self.endpoint(job)
        cache = reply.headers.get("x-cache", "").lower()
        if cache in ("miss", "bypass"):
            self._went_upstream(job, reply, endpoint)
        if reply.status is None:  # it had no answer yet: the simulator is the one who knows
            cache = "bypass"
            self.asked_upstream += 1
        if cache:
            self.add("sluice_cache_requests_total", result=cache)
        error = f"rate_{refusal}" if refusal else job.error
        if error:
            self.add("sluice_errors_total", error=error)
        self._note_events(job, reply, endpoint)
        self._note_end(job, reply, endpoint, "refused" if refusal else self._end(job, cache))

    def endpoint(self, job):
        return ENDPOINTS.get(job.path.partition("?")[0], "unknown")

    def _refusal(self, job, reply):
        if job.kind != "limited" or reply.status == 200:
            return None
        assert reply.status == 429, reply
        kind = next(kind for text, kind in REFUSALS.items() if text in reply.error()["message"])
        self.add("sluice_rate_limit_refusals_total", kind=kind)
        return kind

    @staticmethod
    def _end(job, cache):
        return job.end or ("cached" if cache in ("hit", "coalesced") else "complete")

    def _note_end(self, job, reply, endpoint, end):
        status = "none" if reply.status is None else str(reply.status)
        self.add("sluice_requests_total", endpoint=endpoint, method=job.method, status=status)
        self.add("sluice_request_ends_total", end=end)
        self.add("sluice_request_duration_seconds_count", endpoint=endpoint)

    # ---- upstream ----

    def _went_upstream(self, job, reply, endpoint):
        if job.error == "not_cached":
            return
        self.asked_upstream += job.attempts
        self.add("sluice_upstream_retries_total", job.attempts - 1)
        for kind, status in job.failures:
            self.add("sluice_upstream_errors_total", kind=kind, status=str(status))
            self.upstream_statuses[str(status)] += kind == "status"
            self.cut_upstream += kind != "status"
            self.dropped_upstream += kind == "unreachable"
        if job.attempts == 1 and not job.stream:
            self.add("sluice_overhead_seconds_count", endpoint=endpoint)
        if reply.status == 200 and not job.leaves and job.end != "cut":
            self._note_usage(job, self._usage(job, reply))
            self.add(WRITES, reply.headers["x-cache"] == "MISS")

    def _usage(self, job, reply):
        """(input, output, cached, reasoning)"""
        if not job.stream:
            usage = json.loads(reply.body).get("usage")
        elif job.path == RESPONSES:
            usage = json.loads(reply.events[-1])["response"]["usage"]
        elif "stream_options" in job.body:
            usage = json.loads(reply.events[-2])["usage"]
        else:  # Sluice asks for it, and keeps it to itself
            text = job.body["messages"][0]["content"]
            usage = {"prompt_tokens": len(text) // 4 + 3, "completion_tokens": len(contents(reply))}
        return usage and [
            usage.get("prompt_tokens", usage.get("input_tokens", 0)),
            usage.get("completion_tokens", usage.get("output_tokens", 0)),
            (usage.get("prompt_tokens_details") or usage.get("input_tokens_details") or {}).get("cached_tokens", 0),
            (usage.get("completion_tokens_details") or usage.get("output_tokens_details") or {}).get("reasoning_tokens", 0)]

    def _note_usage(self, job, usage):
        name = self.aliases.get(job.key) or hashlib.sha256(job.key.encode()).hexdigest()[:12]
        for kind, n in zip(("input", "output", "cached", "reasoning"), usage or ()):
            self.add("sluice_tokens_total", n, kind=kind, model=job.body["model"], key=name)
            self.tokens[kind] += n

    # ---- streams ----

    def _note_events(self, job, reply, endpoint):
        if not job.stream or reply.status != 200:
            return
        given = len(reply.events) - (job.end == "cut")  # the last is Sluice's own word
        self.add("sluice_stream_events_total", given)
        if is_live(job, reply):
            self._note_live(endpoint, given)

    def _note_live(self, endpoint, given):
        self.add("sluice_time_to_first_token_seconds_count", endpoint=endpoint)
        self.add("sluice_inter_token_seconds_count", given - 1, endpoint=endpoint)

    # ---- a request that a killed process had under way ----

    def note_broken(self, job, reply):
        """Its end was never recorded; what is counted as it happens, was."""
        self.broken += 1
        self.asked_upstream += 1
        if job.stream:
            self._note_live(self.endpoint(job), len(reply.events))


def contents(reply):
    """The chunks that bring text."""
    chunks = [json.loads(event) for event in reply.events if event != "[DONE]"]
    return [choice for chunk in chunks for choice in chunk.get("choices", ()) if choice["delta"].get("content")]


def is_live(job, reply):
    """A stream that is told from a whole answer has all its text in one chunk; the simulator's have a word in each."""
    return job.path == RESPONSES or job.leaves or job.end == "cut" or len(contents(reply)) > 1
