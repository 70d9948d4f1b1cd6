"""What requests cost: usage times price, in the log, in /metrics and on the page; nothing where nothing is known."""

import json
import signal
import uuid
from fractions import Fraction

import pytest

from harness import keys
from harness.bodies import chat
from harness.caching import at_once, embeddings, fixed, unique
from harness.exposition import scrape
from harness.process import wait_until
from harness.sluice import run
from harness.sse import data_of

PRICES = {
    "gpt-4o*": {"input": 2.5, "cached_input": 1.25, "output": 10},
    "gpt-4o-mini": {"input": 0.15, "cached_input": 0.075, "output": 0.6},
    "text-embedding-3-small": {"input": 0.02, "output": 0},
}
MINI, DATED = "gpt-4o-mini", "gpt-4o-2024-08-06"


def price_of(model):
    return PRICES.get(model) or PRICES["gpt-4o*"]


def cost(model, usage):
    """By the usage of an answer, in USD."""
    price = {name: Fraction(str(usd)) / 1000000 for name, usd in price_of(model).items()}
    read = usage.get("prompt_tokens", usage.get("input_tokens"))
    details = usage.get("prompt_tokens_details") or usage.get("input_tokens_details") or {}
    cached = details.get("cached_tokens", 0)
    written = usage.get("completion_tokens", usage.get("output_tokens", 0))
    return (read - cached) * price["input"] + cached * price.get("cached_input", price["input"]) + written * price["output"]


@pytest.fixture
def priced(make_stack):
    return make_stack(WORKERS=2, PRICES=json.dumps(PRICES), KEY_ALIASES=json.dumps({keys.CLIENT: "team search"}))


def unique_id():
    return f"price-{uuid.uuid4()}"


def line_of(stack, request, path="/v1/chat/completions", **options):
    """Makes a request under an id of its own; returns the answer and its line."""
    name = unique_id()
    answer = stack.post(path, json=request, headers={"X-Request-ID": name}, **options)
    assert answer.status_code == 200, answer.text
    return answer, stack.sluice.wait_for_line(request_id=name)


def close(value, expected):
    return abs(Fraction(value) - expected) <= Fraction(6, 10**10)  # of the last billionth a half


def stream_usage(answer):
    return next(json.loads(data)["usage"] for data in reversed(data_of(answer.text)) if '"usage":{' in data)


ASKED = {"stream": True, "stream_options": {"include_usage": True}}


@pytest.mark.parametrize("sim", [None, "cached=9"], ids=["plain", "cached tokens"])
@pytest.mark.parametrize("model", [MINI, DATED])
def test_a_cost_is_usage_times_price(priced, model, sim):
    answer, line = line_of(priced, chat(sim, model=model, max_tokens=33))
    usage = answer.json()["usage"]
    expected = cost(model, usage)
    assert close(line["cost_usd"], expected) and expected > 0
    streamed, streamed_line = line_of(priced, chat(f"events=33;{sim or ''}", model=model, **ASKED))
    assert stream_usage(streamed) == usage
    assert streamed_line["cost_usd"] == line["cost_usd"]
    _, silent = line_of(priced, chat(f"events=33;{sim or ''}", model=model, stream=True))  # its usage is not for the client
    assert silent["cost_usd"] == line["cost_usd"]
    if sim:
        plain, plain_line = line_of(priced, chat(model=model, max_tokens=33))
        assert usage["prompt_tokens_details"]["cached_tokens"] == 9
        saved = 9 * Fraction(str(price_of(model)["input"])) / 2 / 1000000
        assert close(plain_line["cost_usd"] - line["cost_usd"], saved)


@pytest.mark.parametrize("stream", [False, True])
def test_responses_and_embeddings(priced, stream):
    request = {"model": DATED, "input": "What is a sluice?", "stream": stream, "metadata": {"sim": "cached=2"}}
    answer, line = line_of(priced, request, "/v1/responses")
    usage = (json.loads(answer.text.split("\ndata: ")[-1])["response"] if stream else answer.json())["usage"]
    assert usage["input_tokens_details"]["cached_tokens"] == 2
    assert close(line["cost_usd"], cost(DATED, usage))
    answer, line = line_of(priced, embeddings("a few words"), "/v1/embeddings")
    assert close(line["cost_usd"], cost("text-embedding-3-small", answer.json()["usage"])) and line["cost_usd"] > 0


def test_metrics_and_page_are_the_sum_of_the_log(priced):
    for model in (MINI, DATED, "o1"):
        for key in (keys.CLIENT, keys.OTHER_CLIENT):
            for fields in ({"max_tokens": 20}, ASKED):
                line_of(priced, chat(model=model, **fields), key=key)
    for request, status in ((chat("status=400", model=MINI), 400), ({"model": MINI}, 400)):
        assert priced.post(json=request).status_code == status
    wait_until(lambda: scrape(priced).sum("sluice_requests_total", endpoint="chat.completions") == 14, "the end of all")
    page, lines = scrape(priced), priced.sluice.request_lines(endpoint="chat.completions")
    names = {line["key"] for line in lines}
    for model in (MINI, DATED):
        for name in names:
            costs = [line["cost_usd"] for line in lines if (line["model"], line["key"]) == (model, name) and "cost_usd" in line]
            assert len(costs) == 2
            assert page.sum("sluice_cost_usd_total", model=model, key=name) == pytest.approx(sum(costs), rel=1e-12)
    assert not [line for line in lines if line["model"] == "o1" and "cost_usd" in line]
    assert set(page.by("sluice_cost_usd_total", "key")) == names and "team search" in names and len(names) == 2
    assert set(page.by("sluice_cost_usd_total", "model")) == {MINI, DATED}
    assert page.by("sluice_cost_unpriced_requests_total", "model") == {"o1": 4}
    shown = {(model, key): usd for model, key, usd in priced.http.get("/status.json").json()["counters"]["cost"]}
    for (model, key), usd in shown.items():
        assert usd == page.sum("sluice_cost_usd_total", model=model, key=key)
    assert len(shown) == 4


def test_without_prices_there_are_no_costs(stack):
    _, line = line_of(stack, chat())
    assert line["usage"] and "cost_usd" not in line
    assert not scrape(stack).samples["sluice_cost_unpriced_requests_total"]


def test_a_stream_that_breaks_off_costs_what_was_delivered(priced):
    name = unique_id()
    priced.post(json=chat("events=30;cut-event=21", model=DATED, stream=True), headers={"X-Request-ID": name})
    line = priced.sluice.wait_for_line(request_id=name)
    assert (line["end"], line["usage_source"]) == ("cut", "deltas")
    assert line["cost_usd"] > 20 * price_of(DATED)["output"] / 1000000
    wait_until(lambda: scrape(priced).sum("sluice_cost_usd_total", model=DATED) == line["cost_usd"], "its cost")


def test_answers_from_the_cache_cost_nothing(make_cached):
    stack = make_cached(PRICES=json.dumps(PRICES), WORKERS=1)
    request = fixed(model=DATED)
    answer, line = line_of(stack, request)
    paid = cost(DATED, answer.json()["usage"])
    assert line["cache"] == "miss" and close(line["cost_usd"], paid)
    for again in (request, {**request, **ASKED}):
        _, line = line_of(stack, again)
        assert (line["cache"], line["cost_usd"]) == ("hit", 0)
    shared = fixed(unique(), "delay=600", model=DATED)
    lines = [line for _, line in at_once([lambda n=n: line_of(stack, shared) for n in range(5)])]
    assert sorted(line["cache"] for line in lines) == ["coalesced"] * 4 + ["miss"]
    assert all((line["cost_usd"] == 0) == (line["cache"] == "coalesced") for line in lines)
    _, line = line_of(stack, fixed(model="o1"))
    assert "cost_usd" not in line
    _, line = line_of(stack, embeddings(["one " * 20, "two " * 20]), "/v1/embeddings")
    part, reduced = line_of(stack, embeddings(["two " * 20, "three"]), "/v1/embeddings")  # only "three" goes upstream
    assert 0 < reduced["cost_usd"] < line["cost_usd"]
    assert close(reduced["cost_usd"], cost("text-embedding-3-small", part.json()["usage"]))
    total = sum(line.get("cost_usd", 0) for line in stack.sluice.request_lines())
    wait_until(lambda: scrape(stack).sum("sluice_cost_usd_total") == pytest.approx(total, rel=1e-12), "the costs")


def test_a_reload_takes_new_prices(make_stack):
    stack = make_stack(env_file="PRICES={\"gpt-4o*\": {\"input\": 0, \"output\": 1}}\n")
    _, line = line_of(stack, chat(max_tokens=10))
    assert close(line["cost_usd"], Fraction(10, 1000000))
    stack.sluice.env_file.write_text("PRICES='{\"*\": {\"input\": 0, \"output\": 3}}'\n")
    stack.sluice.process.send(signal.SIGHUP)
    wait_until(lambda: line_of(stack, chat(max_tokens=10))[1]["cost_usd"] == 30 / 1000000, "the new price")


@pytest.mark.parametrize("value, message", [
    ("2.5", "the value is JSON, but not an object"),
    ('{"m": {"input": 1}}', 'the prices of "m" have no "output"'),
    ('{"m": {"input": -1, "output": 1}}', 'the input of "m" is not from 0 to 100000'),
    ('{"m": {"input": "free", "output": 1}}', 'the input of "m" is not a number'),
    ('{"m*x": {"input": 1, "output": 1}}', "the name of model 1 has a * that is not at its end"),
])
def test_mistakes_are_told(tmp_path, value, message):
    result = run("--check-config", cwd=tmp_path, OPENAI_API_KEY=keys.UPSTREAM, CLIENT_API_KEYS=keys.CLIENT, PRICES=value)
    text = result.stdout + result.stderr
    assert result.returncode == 2
    assert f"PRICES: {json.dumps(value)} {message} (environment); allowed: a JSON object" in text, text
