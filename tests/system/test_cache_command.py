"""`sluice cache` beside workers that serve: what it counts and what it removes, in LMDB and in Redis."""

import hashlib
import json
import re

import pytest

from harness import keys
from harness.caching import ask, at_once, embeddings, fixed, result, results, unique
from harness.process import wait_until
from harness.sluice import run

BOUND = 64 * 1024 * 1024


@pytest.fixture
def make(make_cached, tmp_path):
    """A stack, and the settings that the command needs to find its cache."""

    def made(**settings):
        settings = {"STATE_DIR": tmp_path / "state", "CACHE__MAX_BYTES": BOUND, "OPENAI_API_KEY": keys.UPSTREAM,
                    "CLIENT_API_KEYS": f"{keys.CLIENT},{keys.OTHER_CLIENT}", **settings}
        stack = make_cached(**settings)
        url = stack.redis.url if stack.redis else "redis://127.0.0.1:1"
        stack.settings = {**settings, "CACHE__REDIS_URL": url}
        return stack

    return made


def command(stack, *arguments, status=0):
    """What it says of the store that is in use; of the other one it must say that it has nothing."""
    done = run("cache", *arguments, cwd=stack.directory, **stack.settings)
    assert done.returncode == status, done.stdout + done.stderr
    assert not any(key in done.stdout + done.stderr for key in keys.ALL)
    lines = dict(re.findall(r"^(Redis|STATE_DIR) +(.*)$", done.stdout, re.MULTILINE))
    if stack.redis and lines:
        assert re.match("0 entries|no store yet", lines["STATE_DIR"]), done.stdout
    elif lines:
        assert lines["Redis"].startswith("not connected"), done.stdout
    return lines.get("Redis" if stack.redis else "STATE_DIR", done.stderr)


def wait_for_entries(stack, count):
    wait_until(lambda: re.match(rf"{count} entries\b", command(stack, "stats")), f"{count} entries")


def fingerprint_of(stack, key):
    """As the log shows it."""
    fingerprint = hashlib.sha256(key.encode()).hexdigest()[:12]
    return stack.sluice.wait_for_line(key=fingerprint)["key"]


def removed(stack, *arguments):
    return int(re.match(r"(\d+) entries removed", command(stack, "clear", *arguments)).group(1))


def test_counted_and_cleared(make):
    stack = make()
    mine = [fixed(), fixed(), embeddings([unique() for _ in range(10)])]
    others = [fixed(), embeddings([unique() for _ in range(3)])]
    first = [ask(stack, request) for request in mine]
    second = [ask(stack, request, key=keys.OTHER_CLIENT) for request in others]
    assert [result(answer) for answer in first + second] == ["MISS"] * 5
    wait_for_entries(stack, 12 + 4)

    assert removed(stack, "--key", fingerprint_of(stack, keys.OTHER_CLIENT)) == 4
    wait_for_entries(stack, 12)
    assert results(stack, *mine) == ["HIT"] * 3
    assert [result(ask(stack, request, key=keys.OTHER_CLIENT)) for request in others] == ["MISS", "MISS"]
    wait_for_entries(stack, 16)

    assert removed(stack) == 16
    wait_for_entries(stack, 0)
    assert results(stack, *mine) == ["MISS"] * 3
    assert results(stack, *mine) == ["HIT"] * 3


def test_cleared_by_the_key_that_shares(make):
    """With CACHE__SCOPE=upstream entries are the OpenAI key's, whoever asked first; --print-config shows its fingerprint."""
    mapping = {keys.MAPPED_CLIENT: keys.MAPPED_UPSTREAM}
    stack = make(CACHE__SCOPE="upstream", API_KEY_MAPPING=json.dumps(mapping))
    shared, mapped = fixed(), fixed()
    assert [result(ask(stack, shared, key=key)) for key in (keys.CLIENT, keys.OTHER_CLIENT)] == ["MISS", "HIT"]
    assert result(ask(stack, mapped, key=keys.MAPPED_CLIENT)) == "MISS"
    wait_for_entries(stack, 2)
    shown = run("--print-config", cwd=stack.directory, **stack.settings).stdout
    upstream_key = re.search(r"^OPENAI_API_KEY=\W*(sha256:[0-9a-f]{12})", shown, re.MULTILINE).group(1)
    assert removed(stack, "--key", upstream_key) == 1
    assert result(ask(stack, mapped, key=keys.MAPPED_CLIENT)) == "HIT"
    assert result(ask(stack, shared, key=keys.OTHER_CLIENT)) == "MISS"


def test_a_wrong_fingerprint_is_told(make):
    stack = make()
    request = fixed()
    ask(stack, request)
    known = fingerprint_of(stack, keys.CLIENT)
    wait_for_entries(stack, 1)
    for wrong in (known[:-1], known + "0", "g" * 12, "sha256:", keys.CLIENT, "*"):
        said = run("cache", "clear", "--key", wrong, cwd=stack.directory, **stack.settings)
        assert said.returncode == 2
        assert "--key takes a fingerprint" in said.stderr and wrong not in said.stderr.splitlines()[0]
    unknown = "0" * 12
    said = run("cache", "clear", "--key", unknown, cwd=stack.directory, **stack.settings)
    assert said.returncode == 1
    assert f"no entry and no configured key has the fingerprint {unknown}" in said.stderr
    assert result(ask(stack, request)) == "HIT"
    assert removed(stack, "--key", f"sha256:{known}") == 1
    assert removed(stack, "--key", known) == 0


def test_while_workers_write(make):
    """Cleared again and again under load: no request fails, no answer is wrong, and nothing that was cleared comes back."""
    stack = make(WORKERS=3)
    kept = fixed()
    ask(stack, kept)
    for _ in range(5):
        requests = [embeddings([unique() for _ in range(20)]) if n % 2 else fixed() for n in range(12)]
        calls = [lambda request=request: ask(stack, request) for request in requests]
        answers = at_once([*calls, lambda: command(stack, "clear"), lambda: command(stack, "stats")])
        assert [result(answer) for answer in answers[:-2]] == ["MISS"] * len(requests)
    wait_until(lambda: removed(stack) == 0, "an empty cache")
    assert results(stack, kept, kept) == ["MISS", "HIT"]
