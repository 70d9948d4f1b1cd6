"""Who may use the proxy, and what the upstream and the log learn of it."""

import json

import pytest

from harness import keys
from harness.errors import IRE, error_of
from harness.bodies import chat

NO_KEY = "You didn't provide an API key."
WRONG_KEY = "Incorrect API key provided: "


@pytest.mark.parametrize("headers", [
    {}, {"Authorization": ""}, {"Authorization": "Basic dXNlcjpwYXNz"}, {"Authorization": "Bearer"},
    {"Authorization": keys.CLIENT},
], ids=["none", "empty", "basic", "no key", "no scheme"])
def test_no_usable_key(stack, headers):
    answer = stack.post(json=chat(), key=None, headers=headers)
    error = error_of(answer)
    assert (answer.status_code, error["type"], error["param"]) == (401, IRE, None)
    assert error["code"] in (None, "invalid_api_key")
    assert error["message"].startswith(NO_KEY if not headers else "")
    assert stack.sim.stats()["requests"] == 0


@pytest.mark.parametrize("key", [keys.WRONG_CLIENT, keys.UPSTREAM, keys.CLIENT[:-1], keys.CLIENT + "x",
                                 keys.CLIENT.upper(), keys.CLIENT + "," + keys.OTHER_CLIENT, "x", "k" * 5000])
def test_wrong_key(stack, key):
    answer = stack.post(json=chat(), key=key)
    error = error_of(answer)
    assert (answer.status_code, error["type"], error["param"], error["code"]) == (401, IRE, None, "invalid_api_key")
    assert error["message"].startswith(WRONG_KEY)
    assert key not in error["message"] or len(key) < 2
    assert stack.sim.stats()["requests"] == 0


def test_the_scheme_may_be_in_any_case(stack):
    assert stack.post(json=chat(), key=None, headers={"Authorization": f"bearer {keys.CLIENT}"}).status_code == 200


def test_a_wrong_key_is_the_first_thing_said(stack):
    """Who has no key learns nothing about what else is wrong."""
    assert stack.post(content=b"not json", key=keys.WRONG_CLIENT).status_code == 401


def test_health_needs_no_key(stack):
    answer = stack.http.get("/health")
    assert answer.status_code == 200
    assert answer.json() == {"status": "healthy", "redis_connected": False}
    assert answer.headers["content-type"].startswith("application/json")


def test_only_the_upstream_key_goes_upstream(stack):
    assert stack.post(json=chat()).status_code == 200
    seen = stack.sim.last_request()
    assert seen["headers"]["authorization"] == f"Bearer {keys.UPSTREAM}"
    assert keys.CLIENT not in json.dumps(seen)


def test_the_upstream_key_never_comes_back(stack):
    for directives in ("", "status=401", "status=500"):
        answer = stack.post(json=chat(directives))
        assert keys.UPSTREAM not in str(answer.headers) + answer.text


def test_mapped_keys(make_stack):
    mapping = {keys.MAPPED_CLIENT: keys.MAPPED_UPSTREAM}
    stack = make_stack(API_KEY_MAPPING=json.dumps(mapping))
    for key, upstream in ((keys.MAPPED_CLIENT, keys.MAPPED_UPSTREAM), (keys.CLIENT, keys.UPSTREAM)):
        assert stack.post(json=chat(), key=key).status_code == 200
        assert stack.sim.last_request()["headers"]["authorization"] == f"Bearer {upstream}"


def test_mapped_keys_alone_need_no_openai_key(make_stack):
    stack = make_stack(
        API_KEY_MAPPING=json.dumps({keys.MAPPED_CLIENT: keys.MAPPED_UPSTREAM}), OPENAI_API_KEY=None, CLIENT_API_KEYS=None
    )
    assert stack.post(json=chat(), key=keys.MAPPED_CLIENT).status_code == 200
    assert stack.post(json=chat(), key=keys.CLIENT).status_code == 401


def test_without_client_keys_it_starts_warns_and_refuses(make_stack):
    stack = make_stack(CLIENT_API_KEYS=None)
    assert stack.post(json=chat()).status_code == 401
    assert "warning: CLIENT_API_KEYS: " in stack.sluice.process.text()


def test_settings_in_the_file_work_and_the_environment_beats_them(make_stack):
    text = f"""
        # comment
        export CLIENT_API_KEYS="{keys.CLIENT}"  # who may
        OPENAI_API_KEY='{keys.UPSTREAM}'
        OPENAI_BASE_URL=http://127.0.0.1:1/v1
    """
    stack = make_stack(env_file=text, CLIENT_API_KEYS=None, OPENAI_API_KEY=None)
    assert stack.post(json=chat()).status_code == 200
    assert stack.sim.last_request()["headers"]["authorization"] == f"Bearer {keys.UPSTREAM}"
    assert stack.post(json=chat(), key=keys.OTHER_CLIENT).status_code == 401
