"""Ten thousand mixed requests, and every counter is what the clients and the simulator counted."""

import json
import os
import signal
import time
from collections import Counter

import pytest

from harness import keys
from harness.account import WRITES, Account, samples
from harness.exposition import Page
from harness.process import free_port, sockets_of, wait_until
from harness.traffic import SILENCE, Connection, Job, Reply, Script, chat, run

REQUESTS = int(os.environ.get("SLUICE_METRICS_REQUESTS", 10000))
OFTEN, MUCH, MANY = "sk-often-Tq4xZb8mKw2Lr9Vd", "sk-much-Pf7hYc3nGs6Jt1Xe", "sk-many-Rk5vWd9qHz2Bn8Ma"
ALIASES = {keys.CLIENT: "team search"}
LIMITS = {
    OFTEN: {"requests_per_minute": 10},
    MUCH: {"tokens_per_minute": 2000},
    MANY: {"concurrent_requests": 2},
}


@pytest.fixture
def metered(make_stack):
    clients = [keys.CLIENT, keys.OTHER_CLIENT, *LIMITS]
    return make_stack(
        WORKERS=2, LOG_LEVEL="info", METRICS__GENAI="true", KEY_ALIASES=json.dumps(ALIASES),
        CLIENT_API_KEYS=",".join(clients), CACHE__ENABLED="true", CACHE__REDIS_URL=f"redis://127.0.0.1:{free_port()}",
        RATE_LIMIT__REQUESTS_PER_MINUTE=10000000, RATE_LIMIT__TOKENS_PER_MINUTE=1000000000,
        RATE_LIMIT__CONCURRENT_REQUESTS=1000, RATE_LIMIT__OVERRIDES=json.dumps(LIMITS),
        UPSTREAM__RETRY_BASE_SECONDS="0.001", UPSTREAM__MAX_RETRIES=2)


class Books:
    """The stack, the account of its clients, and /metrics: what each adds to the other is seen from here."""

    def __init__(self, stack):
        self.stack = stack
        self.account = Account(ALIASES)
        self.before = samples(self.look())

    def look(self):
        """A scrape is a request as well. It does not count itself."""
        reply = Connection(self.stack.front.port)
        job = Job("scrape", "/metrics", key=None, method="GET", end="local")
        answer = reply.ask(job)
        reply.close()
        self.account.note(job, answer)
        return Page(answer.body.decode())

    def settled(self, under_way=0):
        """The page once all but these have ended, the scrape itself aside, and what they left was written: of that, and of
        its log, a process tells every two seconds."""
        def page():
            found = self.look()
            written = found.sum(WRITES) - self.before.get((WRITES, ()), 0)
            if found.sum("sluice_requests_in_progress") == 1 + under_way and written == self.account.expected[WRITES, ()]:
                return found
            time.sleep(0.05)
            return None
        return wait_until(page, f"{under_way} requests under way, all others settled", 30)

    def check(self, page):
        """The page was made before its own request ended."""
        expected = Counter(self.account.expected)
        for name, labels in [("sluice_requests_total", {"endpoint": "metrics", "method": "GET", "status": "200"}),
                             ("sluice_request_ends_total", {"end": "local"}),
                             ("sluice_request_duration_seconds_count", {"endpoint": "metrics"})]:
            expected[name, tuple(sorted(labels.items()))] -= 1
        counted = Counter(samples(page))
        counted.subtract(self.before)
        counted, expected = ({key: n for key, n in book.items() if n} for book in (counted, expected))
        differences = [f"{name}{dict(labels)}: counted {counted.get((name, labels), 0)}, not {expected.get((name, labels), 0)}"
                       for name, labels in sorted(counted.keys() | expected.keys())
                       if counted.get((name, labels)) != expected.get((name, labels))]
        assert not differences, "\n".join(differences)


def hold_open(stack):
    """Streams that are silent behind their first event, and requests whose answer does not begin."""
    streams = [Job("held", body=chat(f"held {n}", SILENCE, stream=True), end="client_left", leaves=True) for n in range(12)]
    silent = [Job("held", body=chat(f"silent {n}", "hang=head"), status=None, end="client_left") for n in range(4)]
    return streams + silent


def busiest(workers):
    """Only root may look into them; without a look one is as good as the other."""
    return max(workers, key=sockets_of) if os.geteuid() == 0 else workers[0]


def kill_one_with_requests_under_way(books):
    """What a killed process had under way has no end in the books; everything else has.

    The rule: what is counted at a request's end (requests, ends, durations, errors, tokens, cache, events) is lost with
    it. What is counted as it happens (first token, gaps, failed attempts, retries, refusals) is not."""
    stack, account = books.stack, books.account
    held = []
    for job in hold_open(stack):
        connection = Connection(stack.front.port)
        health = Job("health", "/health", key=None, method="GET", end="local")
        account.note(health, connection.ask(health))
        time.sleep(0.05)  # lighttpd watches a client once it has waited for a request of it
        connection.send(job)
        reply = connection.first_event()[0] if job.stream else Reply(None)
        held.append((job, connection, reply))
    wait_until(lambda: stack.sim.stats()["active"] == len(held), "all at the simulator")
    books.settled(under_way=len(held))
    workers = stack.sluice.workers()
    doomed = busiest(workers)
    os.kill(doomed, signal.SIGKILL)
    wait_until(lambda: len(stack.sluice.workers()) == 2 and doomed not in stack.sluice.workers(), "another worker")
    account.add("sluice_process_crashes_total")
    account.add("sluice_process_starts_total")
    wait_until(lambda: books.look().sum("sluice_processes") == 2, "its place")
    page = wait_until(lambda: (page := books.look()).sum("sluice_process_crashes_total") == 1 and page, "the crash")
    left = int(page.sum("sluice_requests_in_progress")) - 1
    assert 0 <= left < len(held)
    wait_until(lambda: sum(connection.has_news() for _, connection, _ in held) == len(held) - left, "those that broke")
    for job, connection, reply in held:
        if connection.has_news():
            account.note_broken(job, reply)
        else:
            account.note(job, reply)
        connection.close()
    assert account.broken == len(held) - left
    return books.settled()


def test_every_counter_is_what_clients_and_simulator_counted(metered):
    stack = metered
    books = Books(stack)
    account = books.account
    jobs = Script(OFTEN, MUCH, MANY).jobs(REQUESTS)
    run(stack, jobs[:REQUESTS // 2], account)
    books.check(books.settled())
    books.check(kill_one_with_requests_under_way(books))
    run(stack, jobs[REQUESTS // 2:], account)
    page = books.settled()
    books.check(page)

    check_all_kinds_came(account)
    assert page.sum("sluice_streams_open") == 0
    assert page.sum("sluice_processes") == 2
    assert page.sum("sluice_upstream_breaker_open") == 0
    for kind in ("input", "output"):
        assert page.sum("gen_ai_client_token_usage_sum", gen_ai_token_type=kind) == account.tokens[kind]
    check_simulator(stack, account)
    check_log(stack, page)


def check_all_kinds_came(account):
    """A number that is equal because nothing happened shows nothing."""
    came = Counter()
    for (name, labels), n in account.expected.items():
        for label in ("result", "kind", "end"):
            came[name, dict(labels).get(label)] += n
    for result in ("hit", "miss", "coalesced", "bypass"):
        assert came["sluice_cache_requests_total", result] > REQUESTS // 200, result
    for kind in ("requests", "tokens", "concurrent"):
        assert came["sluice_rate_limit_refusals_total", kind] > 0, kind
    for kind in ("status", "cut", "garbage"):
        assert came["sluice_upstream_errors_total", kind] > 0, kind
    for end in ("complete", "cached", "refused", "upstream_failed", "cut", "client_left", "local"):
        assert came["sluice_request_ends_total", end] > 0, end
    assert account.broken > 0


def check_simulator(stack, account):
    stats = stack.sim.stats()
    assert stats["requests"] - stats["cut"] == account.asked_upstream - account.cut_upstream
    # Where a kept connection ends without a byte, libcurl asks again on another, five times at most: it is one attempt.
    assert account.cut_upstream <= stats["cut"] <= account.cut_upstream + 5 * account.dropped_upstream
    wrong = {status: n for status, n in stats["responses_by_status"].items() if int(status) >= 400}
    assert wrong == {status: n for status, n in account.upstream_statuses.items() if n}
    assert stats["active"] == 0


def check_log(stack, page):
    """The log's lines are a third account; those about Sluice itself are at the level debug."""
    lines = stack.sluice.request_lines()
    counted = page.by("sluice_request_ends_total", "end")
    del counted["local"]
    assert Counter(line["end"] for line in lines) == counted
    assert page.sum("sluice_log_lines_dropped_total") == 0
