"""What one client learns of another: of those that share an OpenAI key, and of those that have their own."""

import json

import pytest

from harness import keys
from harness.bodies import chat

RATE = "x-ratelimit-remaining-requests"


def test_a_mapped_organization_cannot_be_chosen(make_stack):
    """Whose key has an organization and a project stays in them, whatever his request says."""
    mapping = {keys.MAPPED_CLIENT: {"key": keys.MAPPED_UPSTREAM, "organization": "org-own", "project": "proj-own"}}
    stack = make_stack(API_KEY_MAPPING=json.dumps(mapping))
    other = {"OpenAI-Organization": "org-other", "OpenAI-Project": "proj-other"}
    assert stack.post(json=chat(), key=keys.MAPPED_CLIENT, headers=other).status_code == 200
    seen = stack.sim.last_request()["headers"]
    assert (seen["openai-organization"], seen["openai-project"]) == ("org-own", "proj-own")
    # One that shares the key of all may say so: it is the key's own right, and what the operator gave.
    assert stack.post(json=chat(), headers=other).status_code == 200
    assert stack.sim.last_request()["headers"]["openai-organization"] == "org-other"


def test_the_numbers_of_a_limit_are_the_clients_own(make_stack):
    stack = make_stack(RATE_LIMIT__REQUESTS_PER_MINUTE=50, RATE_LIMIT__TOKENS_PER_MINUTE=1000000)
    for _ in range(20):
        assert stack.post(json=chat()).status_code == 200
    first = stack.post(json=chat(), key=keys.OTHER_CLIENT)
    assert int(first.headers[RATE]) == 49  # not what the other has left, and not OpenAI's 9999
    assert first.headers["x-ratelimit-limit-tokens"] == "1000000"


def test_without_limits_openais_own_numbers_show(make_stack):
    """They are of the OpenAI key: who shares it sees how much all of them use."""
    assert make_stack().post(json=chat()).headers[RATE] == "9999"


@pytest.mark.parametrize("path", ["/v1/files", "/v1/batches", "/v1/fine_tuning/jobs", "/v1/vector_stores"])
def test_lists_are_those_of_the_openai_key(make_stack, path):
    """A client with an OpenAI key of its own asks with that, so that it sees no one else's."""
    stack = make_stack(API_KEY_MAPPING=json.dumps({keys.MAPPED_CLIENT: keys.MAPPED_UPSTREAM}))
    for key, upstream in ((keys.MAPPED_CLIENT, keys.MAPPED_UPSTREAM), (keys.CLIENT, keys.UPSTREAM)):
        stack.post(path, method="GET", key=key)
        assert stack.sim.last_request()["headers"]["authorization"] == f"Bearer {upstream}"


def test_a_wrong_key_tells_nothing_of_the_right_ones(stack):
    """A guess that is near gets the same answer as any other, but for the guess itself."""
    near, far = keys.CLIENT[:-1] + "#", "sk-" + "z" * 20
    answers = [stack.post(json=chat(), key=key) for key in (near, far)]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.json()["error"]["message"].partition(":")[0] for answer in answers}) == 1
    assert stack.sim.requests() == []
