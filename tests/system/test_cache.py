"""The cache as clients meet it, in LMDB and in Redis: what is kept, for whom, how long, and what it costs."""

import base64
import json
import struct
import time

import openai
import pytest

from harness import keys
from harness.caching import ask, embeddings, fixed, result, results, unique, upstream
from harness.errors import error_of


# ---- what is kept -----------------------------------------------------------------------------------------------

KEPT = {
    "chat": fixed(),
    "chat with functions": fixed(tools=[{"type": "function", "function": {"name": "f", "parameters": {}}}]),
    "two choices": fixed(n=2),
    "completion": {"model": "gpt-3.5-turbo-instruct", "prompt": unique(), "temperature": 0, "seed": 1},
    "embeddings": embeddings(),
    "embeddings of tokens": embeddings([1, 2, 3, 4]),
    "embeddings of several": embeddings([unique(), unique()]),
}

NEVER = {
    "warm": fixed(temperature=0.1),
    "no temperature": {name: value for name, value in fixed().items() if name != "temperature"},
    "no seed": {name: value for name, value in fixed().items() if name != "seed"},
    "stored": fixed(store=True),
    "web search": fixed(web_search_options={}),
    "audio": fixed(modalities=["text", "audio"], audio={"voice": "alloy", "format": "wav"}),
    "a hosted tool": fixed(tools=[{"type": "web_search"}]),
}


@pytest.mark.parametrize("request_", KEPT.values(), ids=KEPT.keys())
def test_kept(cached, request_):
    first, second = ask(cached, request_), ask(cached, request_)
    assert [result(first), result(second)] == ["MISS", "HIT"]
    assert first.json() == second.json() or "input" in request_
    assert first.json().get("choices", first.json().get("data")) == second.json().get("choices", second.json().get("data"))
    assert second.headers["content-type"].startswith("application/json")
    assert "age" not in first.headers and 0 <= int(second.headers["age"]) <= 5
    assert second.headers["x-request-id"] != first.headers["x-request-id"]
    assert upstream(cached) == 1
    cached.sluice.wait_for_line(request_id=second.headers["x-request-id"], cache="hit", end="cached")


@pytest.mark.parametrize("request_", NEVER.values(), ids=NEVER.keys())
def test_never_kept(cached, request_):
    assert results(cached, request_, request_) == ["BYPASS", "BYPASS"]
    assert upstream(cached) == 2


def test_responses_and_other_endpoints_pass_by(cached):
    request = {"model": "gpt-4o-mini", "input": unique(), "temperature": 0}
    for path in ("/v1/responses", "/v1/moderations"):
        answers = [cached.post(path, json=request) for _ in range(2)]
        assert [answer.headers["x-cache"] for answer in answers] == ["BYPASS", "BYPASS"]
    assert upstream(cached) == 4


ABNORMAL = {"an error": "status=400", "a server's error": "status=500", "half a body": "badjson=1", "cut": "cut=40"}


@pytest.mark.parametrize("sim", ABNORMAL.values(), ids=ABNORMAL.keys())
def test_what_failed_is_not_kept(make_cached, sim):
    stack = make_cached(UPSTREAM__MAX_RETRIES=0)
    text = unique()
    ask(stack, fixed(text, sim))
    assert results(stack, fixed(text), fixed(text)) == ["MISS", "HIT"]


def test_an_abnormal_finish_is_not_kept(cached):
    """Half a JSON object in a good frame is what the upstream said, and nobody's business to keep."""
    text = unique()
    broken = ask(cached, fixed(text, "badjson=1"))
    assert broken.status_code == 200
    assert results(cached, fixed(text)) == ["MISS"]


def test_a_long_answer_is_not_kept(make_cached):
    stack = make_cached(CACHE__MAX_ENTRY_BYTES=4096)
    long, short = fixed(sim="events=3000", max_tokens=3000), fixed()
    assert results(stack, long, long, short, short) == ["MISS", "MISS", "MISS", "HIT"]


def test_switched_off(make_cached):
    stack = make_cached(CACHE__ENABLED="false", RATE_LIMIT__BACKEND="redis")
    request = fixed()
    assert results(stack, request, request) == ["BYPASS", "BYPASS"]


# ---- Cache-Control ------------------------------------------------------------------------------------------------


def test_no_store(cached):
    request = fixed()
    assert [result(ask(cached, request, "no-store")) for _ in range(2)] == ["BYPASS", "BYPASS"]
    assert results(cached, request) == ["MISS"]
    assert result(ask(cached, request, "No-Store, max-age=1000")) == "BYPASS"


def test_no_cache_asks_again_and_fills(cached):
    request = embeddings()
    assert [result(ask(cached, request, control)) for control in ("no-cache", None, "no-cache", None)] == [
        "MISS", "HIT", "MISS", "HIT"]
    assert upstream(cached) == 2


def test_max_age(cached):
    request = fixed()
    assert result(ask(cached, request)) == "MISS"
    time.sleep(1.2)
    older = ask(cached, request, "max-age=100")
    assert result(older) == "HIT" and int(older.headers["age"]) >= 1
    assert result(ask(cached, request, "max-age=1")) == "MISS"
    assert result(ask(cached, request, "max-age=1")) == "HIT"
    assert result(ask(cached, request, "max-age=nonsense")) == "MISS", "the safe reading is 0"


@pytest.mark.parametrize("request_", [fixed(), embeddings(), fixed(temperature=1)], ids=["chat", "embeddings", "never kept"])
def test_only_if_cached(cached, request_):
    refused = ask(cached, request_, "only-if-cached")
    assert refused.status_code == 504
    assert error_of(refused)["code"] == "not_cached"
    assert upstream(cached) == 0
    kept = result(ask(cached, request_)) == "MISS"
    assert (ask(cached, request_, "only-if-cached").status_code == 200) == kept


def test_the_official_client_can_ask_for_it(cached):
    client = cached.client()
    request = fixed()
    with pytest.raises(openai.InternalServerError, match="only-if-cached"):
        client.chat.completions.create(**request, extra_headers={"Cache-Control": "only-if-cached"})
    raw = client.chat.completions.with_raw_response.create(**request)
    again = client.chat.completions.with_raw_response.create(**request, extra_headers={"Cache-Control": "only-if-cached"})
    assert again.headers["x-cache"] == "HIT"
    assert again.parse().model_dump() == raw.parse().model_dump()


# ---- how long -------------------------------------------------------------------------------------------------------


def test_entries_expire(make_cached):
    stack = make_cached(CACHE__TTL_SECONDS=1)
    request, vectors = fixed(), embeddings()
    assert results(stack, request, request, vectors, vectors) == ["MISS", "HIT", "MISS", "HIT"]
    time.sleep(1.3)
    assert results(stack, request, request, vectors, vectors) == ["MISS", "HIT", "MISS", "HIT"]


def test_models_have_their_own_time(make_cached):
    stack = make_cached(CACHE__MODELS_TTL_SECONDS=1)

    def get(path):
        return result(stack.post(path, method="GET"))

    paths = ["/v1/models", "/v1/models", "/v1/models/gpt-4o", "/v1/models/gpt-4o", "/v1/models/gpt-4o-mini"]
    assert [get(path) for path in paths] == ["MISS", "HIT", "MISS", "HIT", "MISS"]
    time.sleep(1.3)
    assert [get(path) for path in paths] == ["MISS", "HIT", "MISS", "HIT", "MISS"]
    assert [model.id for model in stack.client().models.list()] == [model.id for model in stack.direct().models.list()]


def test_models_not_kept(make_cached):
    stack = make_cached(CACHE__MODELS_TTL_SECONDS=0)
    answers = [stack.post("/v1/models", method="GET") for _ in range(2)]
    assert "HIT" not in [result(answer) for answer in answers]
    assert upstream(stack) == 2


def test_deleting_a_model_goes_upstream(cached):
    answer = cached.post("/v1/models/ft:gpt-4o-mini:x", method="DELETE")
    assert answer.headers["x-cache"] == "BYPASS"
    assert upstream(cached) == 1


# ---- for whom -------------------------------------------------------------------------------------------------------

SCOPES = {
    # who asks second: same client, other client with the same OpenAI key, other client with another OpenAI key
    "client": ["HIT", "MISS", "MISS"],
    "upstream": ["HIT", "HIT", "MISS"],
    "shared": ["HIT", "HIT", "HIT"],
}
ONE, SAME_UPSTREAM, OTHER = "sk-test-scope-one", "sk-test-scope-two", "sk-test-scope-three"


@pytest.mark.parametrize("scope", SCOPES)
def test_scope(make_cached, scope):
    mapping = {ONE: keys.UPSTREAM, SAME_UPSTREAM: keys.UPSTREAM, OTHER: "sk-test-other-upstream"}
    stack = make_cached(CACHE__SCOPE=scope, CLIENT_API_KEYS=",".join(mapping), API_KEY_MAPPING=json.dumps(mapping))
    for request in (fixed(), embeddings()):
        assert result(ask(stack, request, key=ONE)) == "MISS"
        assert [result(ask(stack, request, key=key)) for key in (ONE, SAME_UPSTREAM, OTHER)] == SCOPES[scope]


def test_tenants_never_share(cached):
    """Requests of every kind: what one tenant has asked, the other cannot see, nor join."""
    for request in [*KEPT.values(), embeddings([unique(), "x", unique()])]:
        ask(cached, request)
        assert result(ask(cached, request, key=keys.OTHER_CLIENT)) in ("MISS", "HIT")
    cached.sim.reset()
    for request in [fixed(), embeddings(), embeddings([unique(), unique()])]:
        assert result(ask(cached, request)) == "MISS"
        assert ask(cached, request, "only-if-cached", key=keys.OTHER_CLIENT).status_code == 504
        assert result(ask(cached, request, key=keys.OTHER_CLIENT)) == "MISS"
    assert upstream(cached) == 6


def test_project_and_organization_are_apart(cached):
    request = fixed()
    for headers in ({}, {"OpenAI-Organization": "org-1"}, {"OpenAI-Project": "proj-1"}, {"OpenAI-Beta": "x=v1"}):
        answers = [cached.post(json=request, headers=headers) for _ in range(2)]
        assert [result(answer) for answer in answers] == ["MISS", "HIT"], headers


# ---- which requests are the same --------------------------------------------------------------------------------------

SAME = {
    "white space and order": ('{"model":"m","temperature":0,"seed":1,"messages":[{"role":"user","content":"%s"}]}',
                              '{ "seed": 1, "messages" : [ {"content":"%s", "role":"user"} ],\n"temperature":0,"model":"m"}'),
    "numbers": ('{"model":"m","temperature":0,"seed":100,"messages":[{"role":"user","content":"%s"}]}',
                '{"model":"m","temperature":0.0e5,"seed":1e2,"messages":[{"role":"user","content":"%s"}]}'),
    "escapes": ('{"model":"m","temperature":0,"seed":1,"messages":[{"role":"user","content":"%s ä/"}]}',
                '{"model":"m","temperature":0,"seed":1,"messages":[{"role":"user","content":"%s \\u00e4\\/"}]}'),
    "what changes nothing": (
        '{"model":"m","temperature":0,"seed":1,"messages":[{"role":"user","content":"%s"}]}',
        '{"model":"m","temperature":0,"seed":1,"messages":[{"role":"user","content":"%s"}],"user":"u","metadata":{"a":"b"},'
        '"safety_identifier":"s","prompt_cache_key":"k","stream":false}'),
}
DIFFERENT = {
    "big integers": ('{"model":"m","temperature":0,"seed":9007199254740993,"messages":[{"role":"user","content":"%s"}]}',
                     '{"model":"m","temperature":0,"seed":9007199254740992,"messages":[{"role":"user","content":"%s"}]}'),
    "an unknown field": ('{"model":"m","temperature":0,"seed":1,"messages":[{"role":"user","content":"%s"}]}',
                         '{"model":"m","temperature":0,"seed":1,"messages":[{"role":"user","content":"%s"}],"new_field":1}'),
    "order of messages": ('{"model":"m","temperature":0,"seed":1,"messages":[{"role":"system","content":"a"},'
                          '{"role":"user","content":"%s"}]}',
                          '{"model":"m","temperature":0,"seed":1,"messages":[{"role":"user","content":"%s"},'
                          '{"role":"system","content":"a"}]}'),
    "model": ('{"model":"m","temperature":0,"seed":1,"messages":[{"role":"user","content":"%s"}]}',
              '{"model":"m2","temperature":0,"seed":1,"messages":[{"role":"user","content":"%s"}]}'),
}


def ask_both(stack, pair):
    text = unique()
    headers = {"Content-Type": "application/json"}
    return [result(stack.post(content=(body % text).encode(), headers=headers)) for body in pair]


@pytest.mark.parametrize("pair", SAME.values(), ids=SAME.keys())
def test_the_same_request(cached, pair):
    assert ask_both(cached, pair) == ["MISS", "HIT"]


@pytest.mark.parametrize("pair", DIFFERENT.values(), ids=DIFFERENT.keys())
def test_another_request(cached, pair):
    assert ask_both(cached, pair) == ["MISS", "MISS"]


# ---- what it costs ----------------------------------------------------------------------------------------------------


def remaining(answer):
    return tuple(int(answer.headers[f"x-ratelimit-remaining-{name}"]) for name in ("requests", "tokens"))


@pytest.mark.parametrize("count, costs", [("true", 1), ("false", 0)])
def test_a_hit_costs_one_request_and_no_tokens(make_cached, count, costs):
    """Limits of a request or token a minute and more would be refilled meanwhile: these are not within the test."""
    stack = make_cached(CACHE__HITS_COUNT=count, RATE_LIMIT__REQUESTS_PER_MINUTE=20, RATE_LIMIT__TOKENS_PER_MINUTE=600,
                        WORKERS=1)
    request = fixed(max_tokens=30)
    miss = remaining(ask(stack, request))
    hits = [ask(stack, request) for _ in range(4)]
    assert [result(hit) for hit in hits] == ["HIT"] * 4
    requests, tokens = remaining(hits[-1])
    assert miss[0] - requests in (4 * costs, 4 * costs - 1) or costs == 0 and requests >= miss[0]
    assert tokens >= miss[1], "no tokens"


def test_a_stream_from_the_cache_costs_no_tokens(make_cached):
    stack = make_cached(RATE_LIMIT__REQUESTS_PER_MINUTE=600, RATE_LIMIT__TOKENS_PER_MINUTE=600, WORKERS=1)
    request = fixed(max_tokens=30)
    before = remaining(ask(stack, request))[1]
    ask(stack, {**request, "stream": True})
    assert remaining(ask(stack, request))[1] >= before


# ---- embeddings, item by item -------------------------------------------------------------------------------------------


def vectors_of(answer):
    assert answer.status_code == 200, answer.text
    data = answer.json()["data"]
    assert [item["index"] for item in data] == list(range(len(data)))
    assert all(item["object"] == "embedding" for item in data)
    return [item["embedding"] for item in data]


def floats(text):
    bytes_ = base64.b64decode(text)
    return list(struct.unpack(f"<{len(bytes_) // 4}f", bytes_))


def as_single(values):
    """The numbers as a float holds them: what both encodings agree in."""
    return list(struct.unpack(f"<{len(values)}f", struct.pack(f"<{len(values)}f", *values)))


@pytest.mark.parametrize("first, second", [("float", "base64"), ("base64", "float")])
def test_both_encodings_are_one_entry(cached, first, second):
    text = unique()
    answers = {form: ask(cached, embeddings(text, encoding_format=form)) for form in (first, second)}
    assert [result(answers[form]) for form in (first, second)] == ["MISS", "HIT"]
    [numbers], [text_] = vectors_of(answers["float"]), vectors_of(answers["base64"])
    assert as_single(numbers) == floats(text_)
    direct = cached.direct().embeddings.create(**embeddings(text), encoding_format="float").data[0].embedding
    assert as_single(direct) == as_single(numbers)


def test_the_official_client_gets_the_same_vectors(cached):
    """It asks for base64 by itself."""
    request = embeddings([unique(), unique()])
    first, second = (cached.client().embeddings.create(**request) for _ in range(2))
    direct = cached.direct().embeddings.create(**request)
    assert first.data == second.data == direct.data
    assert first.usage == direct.usage
    assert second.usage.total_tokens == second.usage.prompt_tokens == 0


def test_only_what_is_missing_goes_upstream(cached):
    texts = [unique() for _ in range(6)]
    ask(cached, embeddings([texts[1], texts[4]]))
    ask(cached, embeddings(texts[2]))
    answer = ask(cached, embeddings(texts))
    assert result(answer) == "MISS"
    sent = json.loads(cached.sim.last_request()["body"])
    assert sent["input"] == [texts[0], texts[3], texts[5]]
    assert upstream(cached) == 3
    direct = cached.direct().embeddings.create(**embeddings(texts), encoding_format="float")
    assert vectors_of(answer) == [item.embedding for item in direct.data]
    only = cached.direct().embeddings.create(**embeddings(sent["input"])).usage
    assert answer.json()["usage"] == only.model_dump(), "of what was really used"
    again = ask(cached, embeddings(list(reversed(texts))))
    assert result(again) == "HIT"
    assert vectors_of(again) == list(reversed(vectors_of(answer)))
    assert again.json()["usage"] == {"prompt_tokens": 0, "total_tokens": 0}


def test_the_same_item_twice_in_one_request(cached):
    text = unique()
    vectors = vectors_of(ask(cached, embeddings([text, unique(), text])))
    assert vectors[0] == vectors[2] != vectors[1]
    assert results(cached, embeddings(text)) == ["HIT"]


def test_many_items(cached):
    texts = [unique() for _ in range(1000)]
    first = ask(cached, embeddings(texts[::2]))
    whole = ask(cached, embeddings(texts))
    assert vectors_of(whole)[::2] == vectors_of(first)
    assert upstream(cached) == 2
    direct = cached.direct().embeddings.create(**embeddings(texts), encoding_format="float")
    assert vectors_of(whole) == [item.embedding for item in direct.data]


def test_dimensions_are_apart(cached):
    text = unique()
    assert results(cached, *(embeddings(text, dimensions=n) for n in (4, 5, 4))) == ["MISS", "MISS", "HIT"]


def test_tokens_and_batches_of_tokens(cached):
    tokens = [[uuid_ & 0xffff, 2, 3] for uuid_ in (time.time_ns(), time.time_ns() >> 7)]
    assert results(cached, embeddings(tokens), embeddings(tokens[0]), embeddings(tokens[1])) == ["MISS", "HIT", "HIT"]


# ---- /health --------------------------------------------------------------------------------------------------------------


def test_health_tells_whether_redis_is_connected(cached):
    assert cached.http.get("/health").json() == {"status": "healthy", "redis_connected": cached.redis is not None}
