"""Two tenants ask random questions out of few, so that they often ask the same: no answer of one is ever given to the other.

A model of each tenant's cache says what each answer must be, and the upstream's own count must agree. Another run of the
same requests: SLUICE_TENANTS_SEED, whose value a failure prints."""

import json
import os
import random

from harness import keys
from harness.caching import at_once, result, upstream
from harness.sluice import SANITIZED

TENANTS = (keys.CLIENT, keys.OTHER_CLIENT)
ROUNDS = 100 if SANITIZED else 400
TEXTS = ["one", "two", "three", "four", "five"]
NOTHING_CHANGES_BY = [{}, {"user": "somebody"}, {"user": "somebody else"}, {"metadata": {"a": "b"}}]


class Question:
    """One request: how it is asked, and the entries of the cache that its answer is made of."""

    def __init__(self, path, body, entries):
        self.path, self.body, self.entries = path, body, entries

    def ask(self, stack, key, control=None, sim=None):
        headers = {"Cache-Control": control} if control else {}
        if self.body is None:
            return stack.post(self.path, method="GET", key=key, headers=headers)
        body = dict(self.body)
        if sim:
            body["metadata"] = {**body.get("metadata", {}), "sim": sim}
        return stack.post(self.path, key=key, content=json.dumps(body), headers={"Content-Type": "application/json", **headers})


def shuffled(chance, fields):
    """The same object, written differently."""
    names = list(fields)
    chance.shuffle(names)
    return {name: fields[name] for name in names}


def completion(chance, path, question):
    fields = {"model": "gpt-4o-mini", **question, "temperature": chance.choice([0, 0.0]), "seed": chance.choice([1, 2])}
    if chance.random() < 0.3:
        fields["max_tokens"] = chance.choice([3, 5])
    entry = (path, json.dumps({**fields, "temperature": 0}, sort_keys=True))
    stream = {"stream": True} if chance.random() < 0.3 else {}
    return Question(path, shuffled(chance, {**fields, **stream, **chance.choice(NOTHING_CHANGES_BY)}), [entry])


def chat(chance):
    messages = [{"role": chance.choice(["user", "system"]), "content": chance.choice(TEXTS)}]
    return completion(chance, "/v1/chat/completions", {"messages": messages})


def legacy(chance):
    return completion(chance, "/v1/completions", {"prompt": chance.choice(TEXTS)})


def vectors(chance):
    """A single text or several; each is an entry of its own, however it was asked for."""
    fields = {"model": "text-embedding-3-small"}
    if chance.random() < 0.4:
        fields["dimensions"] = chance.choice([8, 16])
    texts = chance.sample(TEXTS, chance.randint(1, 4))
    entries = [("embedding", json.dumps(fields, sort_keys=True), text) for text in texts]
    if chance.random() < 0.3:
        fields["encoding_format"] = chance.choice(["float", "base64"])
    asked = texts[0] if len(texts) == 1 and chance.random() < 0.5 else texts
    return Question("/v1/embeddings", shuffled(chance, {**fields, "input": asked, **chance.choice(NOTHING_CHANGES_BY)}), entries)


def models(chance):
    path = chance.choice(["/v1/models", "/v1/models/gpt-4o", "/v1/models/gpt-4o-mini"])
    return Question(path, None, [path])


def question(chance):
    return chance.choices([chat, legacy, vectors, models], [4, 2, 4, 1])[0](chance)


class Model:
    """What each tenant has in the cache, and how often the upstream must have been asked."""

    def __init__(self):
        self.kept = {key: set() for key in TENANTS}
        self.calls = 0

    def knows(self, key, asked):
        return self.kept[key].issuperset(asked.entries)

    def note(self, key, asked):
        self.calls += 1
        self.kept[key].update(asked.entries)


def check_what_went_upstream(stack, model, key, asked):
    """Of an embeddings request that was a MISS: what this tenant had not asked itself, and all of that."""
    texts = [entry[2] for entry in asked.entries if entry not in model.kept[key]]
    got = json.loads(stack.sim.last_request()["body"])["input"]
    assert ([got] if isinstance(got, str) else got) == texts


def one_asks(stack, model, key, asked):
    expected = "HIT" if model.knows(key, asked) else "MISS"
    assert result(asked.ask(stack, key)) == expected, (asked.path, asked.body)
    if expected == "MISS":
        if asked.path == "/v1/embeddings":
            check_what_went_upstream(stack, model, key, asked)
        model.note(key, asked)


def one_asks_the_cache_only(stack, model, key, asked):
    status = asked.ask(stack, key, "only-if-cached").status_code
    assert status == (200 if model.knows(key, asked) else 504), (asked.path, asked.body)


def both_ask_at_once(stack, model, asked):
    """Under way at the same time: a HIT is of one's own, and nobody joins the other."""
    answers = at_once([lambda key=key: asked.ask(stack, key, sim="delay=30") for key in TENANTS])
    for key, answer in zip(TENANTS, answers):
        expected = "HIT" if model.knows(key, asked) else "MISS"
        assert result(answer) == expected, (asked.path, asked.body)
        if expected == "MISS":
            model.note(key, asked)


def test_no_answer_is_given_to_another_tenant(make_cached):
    seed = int(os.environ.get("SLUICE_TENANTS_SEED", random.SystemRandom().randrange(2**32)))
    print(f"\nSLUICE_TENANTS_SEED={seed}")
    chance, model = random.Random(seed), Model()
    cached = make_cached(CACHE__SCOPE="client")
    for _ in range(ROUNDS):
        asked, key, kind = question(chance), chance.choice(TENANTS), chance.random()
        if kind < 0.15:
            both_ask_at_once(cached, model, asked)
        elif kind < 0.25:
            one_asks_the_cache_only(cached, model, key, asked)
        else:
            one_asks(cached, model, key, asked)
        assert upstream(cached) == model.calls, (asked.path, asked.body)
    shared = model.kept[TENANTS[0]] & model.kept[TENANTS[1]]
    print(f"{model.calls} calls upstream; entries: {[len(kept) for kept in model.kept.values()]}, asked by both: {len(shared)}")
    assert len(shared) > ROUNDS // 16, "they must have asked the same"
    assert model.calls < ROUNDS * 0.8, "and each again what it had asked before"
