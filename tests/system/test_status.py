"""The page for people, in a real browser, and the numbers that it asks for."""

import json
import re

import pytest

from harness import keys
from harness.bodies import chat
from harness.browser import AVAILABLE, Browser
from harness.process import ROOT, wait_until

needs_browser = pytest.mark.skipif(not AVAILABLE, reason="chromium and chromedriver are not installed")
HOSTILE = '<img src=x onerror="document.title=1">'


def busy(make_stack, **settings):
    """A stack with some of everything behind it."""
    stack = make_stack(WORKERS=2, KEY_ALIASES=json.dumps({keys.CLIENT: "team search", keys.OTHER_CLIENT: HOSTILE.replace('"', "'")}),
                       RATE_LIMIT__REQUESTS_PER_MINUTE=0, CACHE__ENABLED="false", UPSTREAM__MAX_RETRIES=0,
                       PRICES='{"gpt-4o*": {"input": 0, "output": 10000}}', **settings)
    for key in (keys.CLIENT, keys.OTHER_CLIENT):
        for _ in range(3):
            stack.post(json=chat(max_tokens=40), key=key)
        stack.post(json=chat("events=9", stream=True, stream_options={"include_usage": True}), key=key)
    stack.post(json=chat(model=HOSTILE))
    stack.post(json=chat("status=429"))
    stack.post(json=chat("events=9;cut-event=4", stream=True))
    stack.post(json=chat(), key=keys.WRONG_CLIENT)
    return stack


@pytest.fixture(scope="module")
def browser():
    browser = Browser()
    yield browser
    browser.stop()


def test_the_numbers(make_stack):
    stack = busy(make_stack)
    wait_until(lambda: sum(stack.http.get("/status.json").json()["history"]["requests"]) == 12, "the end of all requests")
    answer = stack.http.get("/status.json")
    assert answer.headers["content-type"] == "application/json" and answer.headers["cache-control"] == "no-store"
    numbers = answer.json()
    assert numbers["processes"] == 2 and numbers["memory_bytes"] > 1 << 20
    assert sum(numbers["history"]["requests"]) == 12 and len(numbers["history"]["requests"]) == 120
    assert sum(numbers["history"]["refused"]) == 1
    assert numbers["duration"]["count"] == 12 and numbers["duration"]["p99_ms"] >= numbers["duration"]["p50_ms"]
    assert numbers["first_token"]["count"] == 3
    errors = {error["status"]: error for error in numbers["last_errors"]}
    assert {status: error.get("error", error["end"]) for status, error in errors.items()} == {
        401: "wrong_key", 200: "upstream_cut", 429: "complete"}
    assert (errors[429]["key"], errors[429]["model"]) == ("team search", "gpt-4o-mini")


def test_the_page_asks_nobody_else(stack):
    page = stack.http.get("/status")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert page.content == (ROOT / "src/proxy/status.html").read_bytes()
    assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", page.text)


@needs_browser
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_what_a_person_sees(make_stack, browser, theme, tmp_path):
    stack = busy(make_stack)
    browser.theme(theme)
    browser.complaints()
    browser.requests()
    browser.open(stack.origin + "/status")
    text = wait_until(lambda: "gpt-4o-mini" in (text := browser.text()) and text, "the numbers")
    for part in ("Upstream answers", "2 processes", "team search", "wrong key", "upstream cut", "401", "429", HOSTILE,
                 "$1.29", "$2.63", "requests without a price"):
        assert part in text, (part, text)
    wait_until(lambda: "rates over" in browser.text(), "a second poll")
    assert browser.run("return document.title") == "Sluice"
    ground = browser.run("return getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(244, 246, 247)", "dark": "rgb(14, 20, 24)"}[theme]
    assert browser.run("return document.documentElement.scrollWidth <= innerWidth")
    assert len(browser.picture(tmp_path / f"status-{theme}.png")) > 20000
    assert browser.complaints() == []
    assert {url for url in browser.requests() if url.startswith("http")} == {
        stack.origin + "/status", stack.origin + "/status.json"}


@needs_browser
def test_the_page_asks_for_a_token(make_stack, browser):
    stack = busy(make_stack, METRICS__ALLOW="none", METRICS__TOKEN="page-token-5Gh7-Lc9Vx2Qm")
    browser.open(stack.origin + "/status")
    wait_until(lambda: "This page needs a token" in browser.text(), "the question")
    assert "team search" not in browser.text()
    submit = """
        document.getElementById("token").value = "%s";
        document.querySelector("#door button").click();
    """
    browser.run(submit % "wrong")
    wait_until(lambda: "not the right one" in browser.text(), "the refusal")
    browser.run(submit % "page-token-5Gh7-Lc9Vx2Qm")
    wait_until(lambda: "team search" in browser.text(), "the numbers")
    assert "page-token" not in browser.run("return location.href")


@needs_browser
def test_the_page_says_when_nobody_answers(make_stack, browser):
    stack = busy(make_stack)
    browser.open(stack.origin + "/status")
    wait_until(lambda: "gpt-4o-mini" in browser.text(), "the numbers")
    stack.front.process.stop()
    wait_until(lambda: "No answer from Sluice" in browser.text(), "the notice", 15)
    assert "gpt-4o-mini" in browser.text()
