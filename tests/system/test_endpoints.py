"""The official clients' calls for every family of endpoints give the same through Sluice as straight at the upstream.

Each call is made twice, at an upstream that has forgotten everything before, so that generated ids agree too. Compared
is what the client got, and what the upstream was asked.
"""

import asyncio
import hashlib
import json
import re

import openai
import pytest

from harness import clients, keys
from harness.bodies import chat

TURN = [{"role": "user", "content": "Hello ☃"}]
WAV = ("speech.wav", b"RIFF" + bytes(range(256)) * 16, "audio/wav")
PNG = ("image.png", b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "image/png")
JSONL = ("batch.jsonl", b'{"custom_id":"1"}\n{"custom_id":"2"}\n', "application/jsonl")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def new_file(c):
    return c.files.create(file=JSONL, purpose="batch")


def streamed_response(c):
    with c.responses.stream(model="gpt-4o", input="Hi") as stream:
        return [*stream, stream.get_final_response()]


def streamed_run(c):
    with c.beta.threads.runs.stream(thread_id="thread_1", assistant_id="asst_1") as stream:
        return [*stream, *stream.get_final_messages()]


def streamed_speech(c):
    with c.audio.speech.with_streaming_response.create(model="tts-1", voice="alloy", input="Hi") as answer:
        return b"".join(answer.iter_bytes(1000))


def upload_in_parts(c):
    upload = c.uploads.create(bytes=300, filename="a.jsonl", mime_type="application/jsonl", purpose="batch")
    part = c.uploads.parts.create(upload.id, data=b"x" * 300)
    return [upload, part, c.uploads.complete(upload.id, part_ids=["part_1"]), c.uploads.cancel("upload_2")]


def file_from_birth_to_death(c):
    made = new_file(c)
    return [made, c.files.list(purpose="batch", limit=5), c.files.retrieve(made.id), c.files.content(made.id),
            c.files.delete(made.id)]


# name: what the client does; a list is a sequence of calls
CALLS = {
    "chat": lambda c: c.chat.completions.create(model="gpt-4o", messages=TURN, temperature=0.5, seed=7),
    "chat streamed": lambda c: c.chat.completions.create(model="gpt-4o", messages=TURN, stream=True),
    "chat kept": lambda c: [c.chat.completions.list(limit=2), c.chat.completions.retrieve("chatcmpl-1"),
                            c.chat.completions.update("chatcmpl-1", metadata={"a": "b"}),
                            c.chat.completions.messages.list("chatcmpl-1"), c.chat.completions.delete("chatcmpl-1")],
    "completions": lambda c: c.completions.create(model="gpt-3.5-turbo-instruct", prompt="Say", echo=True, n=2),
    "completions streamed": lambda c: c.completions.create(model="gpt-3.5-turbo-instruct", prompt=["a", "b"], stream=True),
    "embeddings": lambda c: c.embeddings.create(model="text-embedding-3-small", input=["a", "ü"], dimensions=8),
    "embeddings in base64": lambda c: c.embeddings.create(model="m", input=[[1, 2], [3]], encoding_format="base64"),
    "models": lambda c: [c.models.list(), c.models.retrieve("ft:gpt-4o:me::1/2"), c.models.delete("ft:gpt-4o:me::1")],
    "responses": lambda c: c.responses.create(model="gpt-4o", input=TURN, instructions="Be kind", max_output_tokens=20),
    "responses streamed": lambda c: c.responses.create(model="gpt-4o", input="Hi", stream=True),
    "responses by helper": streamed_response,
    "responses kept": lambda c: [c.responses.retrieve("resp_1", include=["file_search_call.results"]),
                                 c.responses.input_items.list("resp_1", order="asc"), c.responses.cancel("resp_1"),
                                 c.responses.delete("resp_1")],
    "responses streamed again": lambda c: c.responses.retrieve("resp_1", stream=True, starting_after=3),
    "responses counted": lambda c: [c.responses.input_tokens.count(model="gpt-4o", input="Hi"),
                                    c.responses.compact(model="gpt-4o", input="Hi")],
    "moderations": lambda c: c.moderations.create(input=["a", "b"], model="omni-moderation-latest"),
    "speech": lambda c: c.audio.speech.create(model="tts-1", voice="alloy", input="Hi", response_format="mp3"),
    "speech streamed": streamed_speech,
    "transcriptions": lambda c: c.audio.transcriptions.create(model="whisper-1", file=WAV, language="de"),
    "transcriptions as text": lambda c: c.audio.transcriptions.create(model="w", file=WAV, response_format="text"),
    "transcriptions streamed": lambda c: c.audio.transcriptions.create(model="gpt-4o-transcribe", file=WAV, stream=True),
    "translations": lambda c: c.audio.translations.create(model="whisper-1", file=WAV),
    "images": lambda c: c.images.generate(model="gpt-image-1", prompt="A sluice", n=2),
    "images streamed": lambda c: c.images.generate(model="gpt-image-1", prompt="A", stream=True, partial_images=1),
    "images edited": lambda c: c.images.edit(model="gpt-image-1", image=[PNG, PNG], prompt="Bluer"),
    "images varied": lambda c: c.images.create_variation(image=PNG, n=1, response_format="url"),
    "files": file_from_birth_to_death,
    "uploads": upload_in_parts,
    "batches": lambda c: [c.batches.create(completion_window="24h", endpoint="/v1/embeddings", input_file_id="file-1"),
                          c.batches.retrieve("batch_1"), c.batches.list(limit=1), c.batches.cancel("batch_1")],
    "fine tuning": lambda c: [c.fine_tuning.jobs.create(model="gpt-4o-mini", training_file="file-1"),
                              c.fine_tuning.jobs.retrieve("ftjob-1"), c.fine_tuning.jobs.list(limit=3),
                              c.fine_tuning.jobs.list_events("ftjob-1"), c.fine_tuning.jobs.cancel("ftjob-1"),
                              c.fine_tuning.jobs.checkpoints.list("ftjob-1")],
    "vector stores": lambda c: [c.vector_stores.create(name="ü"), c.vector_stores.retrieve("vs_1"),
                                c.vector_stores.update("vs_1", name="b"), c.vector_stores.list(),
                                c.vector_stores.files.create("vs_1", file_id="file-1"), c.vector_stores.files.list("vs_1"),
                                c.vector_stores.search("vs_1", query="where"), c.vector_stores.delete("vs_1")],
    "assistants": lambda c: [c.beta.assistants.create(model="gpt-4o"), c.beta.assistants.retrieve("asst_1"),
                             c.beta.assistants.update("asst_1", name="x"), c.beta.assistants.list(order="desc"),
                             c.beta.assistants.delete("asst_1")],
    "threads": lambda c: [c.beta.threads.create(messages=TURN), c.beta.threads.retrieve("thread_1"),
                          c.beta.threads.messages.create("thread_1", role="user", content="Hi"),
                          c.beta.threads.messages.list("thread_1"), c.beta.threads.update("thread_1", metadata={}),
                          c.beta.threads.delete("thread_1")],
    "runs": lambda c: [c.beta.threads.runs.create("thread_1", assistant_id="asst_1"),
                       c.beta.threads.runs.retrieve("run_1", thread_id="thread_1"),
                       c.beta.threads.runs.steps.list("run_1", thread_id="thread_1"),
                       c.beta.threads.runs.cancel("run_1", thread_id="thread_1"),
                       c.beta.threads.create_and_run(assistant_id="asst_1")],
    "runs streamed": lambda c: c.beta.threads.runs.create("thread_1", assistant_id="asst_1", stream=True),
    "runs by helper": streamed_run,
    "tool outputs streamed": lambda c: c.beta.threads.runs.submit_tool_outputs(
        "run_1", thread_id="thread_1", tool_outputs=[{"tool_call_id": "call_1", "output": "7"}], stream=True),
    "conversations": lambda c: [c.conversations.create(metadata={}), c.conversations.retrieve("conv_1"),
                                c.conversations.items.list("conv_1"), c.conversations.delete("conv_1")],
    "containers": lambda c: [c.containers.create(name="x"), c.containers.files.create("cntr_1", file=JSONL)],
    "videos": lambda c: [c.videos.create(prompt="water", model="sora-2"), c.videos.delete("video_1")],
}


def without_boundary(told):
    """A form's boundary is made anew each time; the simulator tells it where it knows no better answer."""
    if str(told.get("content_type")).startswith("multipart/"):
        del told["content_type"], told["body_sha256"]
    return told


def plain(value):
    """What can be compared: objects as they came, binary bodies by their digest."""
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if hasattr(value, "model_dump"):
        return without_boundary(value.model_dump(warnings=False))
    if hasattr(value, "read"):
        value = value.read()
    if isinstance(value, bytes):
        return (len(value), hashlib.sha256(value).hexdigest())
    if hasattr(value, "__iter__") and not isinstance(value, (str, dict)):
        return [plain(item) for item in value]
    return value


TOLD_HEADERS = ("accept", "user-agent", "openai-beta", "range")


def body_of(request, is_form):
    """The digest of the body. Sluice asks for the usage of a stream by itself, and keeps it from the client."""
    if is_form:
        return request["body_bytes"]
    if '"stream"' not in request["body"]:
        return request["body_sha256"]
    body = json.loads(request["body"])
    return {name: value for name, value in body.items() if name != "stream_options"}


def asked(request):
    """What matters of a request that the upstream saw."""
    headers = request["headers"]
    content_type = re.sub("boundary=.*", "boundary", headers.get("content-type", ""))
    is_form = content_type.startswith("multipart/")
    return {"method": request["method"], "target": request["target"], "content-type": content_type,
            "body": body_of(request, is_form),
            **{name: headers.get(name) for name in TOLD_HEADERS}}


def both(stack, through, direct):
    """The two results and what the upstream was asked, through Sluice first."""
    results = []
    for ask in (through, direct):
        stack.sim.reset()
        results.append((plain(ask()), [asked(request) for request in stack.sim.requests()]))
    return results


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_python_call(stack, call):
    through, direct = both(stack, lambda: call(stack.client()), lambda: call(stack.direct()))
    assert through == direct
    assert through[1], "nothing was asked"


def test_what_clients_tell_of_their_machine_goes_no_further(stack):
    stack.sim.reset()
    stack.client().models.list()
    headers = stack.sim.requests()[-1]["headers"]
    assert "user-agent" in headers
    assert not [name for name in headers if name.startswith("x-stainless")]


ASYNC_CALLS = {
    "responses": lambda c: c.responses.create(model="gpt-4o", input="Hi"),
    "embeddings": lambda c: c.embeddings.create(model="m", input="a"),
    "transcriptions": lambda c: c.audio.transcriptions.create(model="whisper-1", file=WAV),
    "files": lambda c: c.files.create(file=JSONL, purpose="batch"),
}


@pytest.mark.parametrize("call", ASYNC_CALLS.values(), ids=ASYNC_CALLS.keys())
def test_async_python_call(stack, call):
    async def ask(base_url):
        async with stack.async_client() as client:
            return await call(client.with_options(base_url=base_url))

    through, direct = both(stack, lambda: asyncio.run(ask(stack.base_url)), lambda: asyncio.run(ask(stack.sim.base_url)))
    assert through == direct


# The old client, which names the model in the path with engine=

OLD_CALLS = {
    "chat": ("ChatCompletion.create", {"model": "gpt-4", "messages": TURN}),
    "chat by engine": ("ChatCompletion.create", {"engine": "gpt-4 x/y", "messages": TURN}),
    "chat by engine streamed": ("ChatCompletion.create", {"engine": "gpt-4", "messages": TURN, "stream": True}),
    "completions": ("Completion.create", {"model": "ada", "prompt": "a", "stream": True}),
    "completions by engine": ("Completion.create", {"engine": "ada", "prompt": "a"}),
    "embeddings": ("Embedding.create", {"model": "m", "input": "a", "encoding_format": "float"}),
    "embeddings by engine": ("Embedding.create", {"engine": "m", "input": ["a", "b"], "encoding_format": "float"}),
    "edits": ("Edit.create", {"model": "text-davinci-edit-001", "input": "a", "instruction": "b"}),
    "moderations": ("Moderation.create", {"input": "a"}),
    "models": ("Model.list", {}),
    "model": ("Model.retrieve", {"id": "gpt-4"}),
    "engines": ("Engine.list", {}),
    "images": ("Image.create", {"prompt": "a", "n": 2}),
    "files": ("File.list", {}),
    "fine tunes": ("FineTune.list", {}),
    "fine tuning": ("FineTuningJob.create", {"model": "m", "training_file": "file-1"}),
}


NODE_CALLS = {
    "responses": ["responses.create", {"model": "gpt-4o", "input": "Hi"}],
    "responses streamed": ["responses.create", {"model": "gpt-4o", "input": "Hi", "stream": True}],
    "embeddings": ["embeddings.create", {"model": "m", "input": "a"}],
    "models": ["models.retrieve", "gpt-4o"],
    "files": ["files.create", {"file": "@a text", "purpose": "batch"}],
    "runs streamed": ["beta.threads.runs.create", "thread_1", {"assistant_id": "asst_1", "stream": True}],
    "transcriptions": ["audio.transcriptions.create", {"model": "whisper-1", "file": "@RIFF"}],
}


@pytest.fixture(scope="module")
def other_calls(running_stack):
    """All of them, in one process of each client and way, because a process takes a second to start."""
    stack, results = running_stack, {}
    for client, calls in ((clients.python_028, OLD_CALLS), (clients.node, NODE_CALLS)):
        tasks = [{"call": call, "arguments": arguments} for call, *arguments in calls.values()]
        through, direct = both(stack, lambda ask=client, what=tasks: ask(stack.base_url, what),
                               lambda ask=client, what=tasks: ask(stack.sim.base_url, what))
        assert through[1] == direct[1]
        for name, one, other in zip(calls, through[0], direct[0], strict=True):
            results[client, name] = one, other
    return results


@pytest.mark.parametrize("client, name", [(clients.python_028, name) for name in OLD_CALLS] +
                                         [(clients.node, name) for name in NODE_CALLS])
def test_call_of_another_client(other_calls, client, name):
    through, direct = other_calls[client, name]
    assert through == direct
    assert through and "raised" not in through[0]


# What the log knows of them

USAGES = {
    "chat": lambda c: c.chat.completions.create(model="gpt-4o", messages=TURN),
    "chat streamed": lambda c: [*c.chat.completions.create(model="gpt-4o", messages=TURN, stream=True,
                                                           stream_options={"include_usage": True})],
    "completions": lambda c: c.completions.create(model="gpt-4o", prompt="a"),
    "embeddings": lambda c: c.embeddings.create(model="gpt-4o", input="a"),
    "responses": lambda c: c.responses.create(model="gpt-4o", input="Hi"),
    "responses streamed": lambda c: [*c.responses.create(model="gpt-4o", input="Hi", stream=True)],
    "transcriptions": lambda c: c.audio.transcriptions.create(model="gpt-4o", file=WAV),
    "transcriptions streamed": lambda c: [*c.audio.transcriptions.create(model="gpt-4o", file=WAV, stream=True)],
    "images": lambda c: c.images.generate(model="gpt-4o", prompt="a"),
    "images edited": lambda c: c.images.edit(model="gpt-4o", image=PNG, prompt="a"),
}


@pytest.mark.parametrize("call", USAGES.values(), ids=USAGES.keys())
def test_model_and_usage_are_in_the_log(stack, call):
    client = stack.client(default_headers={"X-Request-ID": f"usage-{id(call)}"})
    call(client)
    line = stack.sluice.wait_for_line(request_id=f"usage-{id(call)}")
    assert line["model"] == "gpt-4o"
    assert line["usage"]["total_tokens"] == line["usage"]["input_tokens"] + line["usage"]["output_tokens"] > 0


def test_the_models_in_the_path_of_the_old_client_are_in_the_log(stack):
    assert stack.post("/v1/engines/gpt-9/completions", json={"prompt": "a"}).status_code == 200
    stack.sluice.wait_for_line(path="/v1/engines/gpt-9/completions", model="gpt-9")


# An error of the upstream is the same error for the client

ERRORS = {
    "embeddings": lambda c: c.embeddings.create(model="m", input="a"),
    "files": lambda c: c.files.retrieve("file-none"),
    "models": lambda c: c.models.retrieve("missing"),
}


@pytest.mark.parametrize("call", ERRORS.values(), ids=ERRORS.keys())
def test_an_upstream_error_is_the_same(stack, call):
    caught = []
    for client in (stack.client(), stack.direct()):
        stack.sim.reset()
        stack.sim.queue("status=404")
        with pytest.raises(openai.NotFoundError) as raised:
            call(client)
        caught.append((raised.value.body, str(raised.value)))
    assert caught[0] == caught[1]


def test_a_key_in_the_form_is_no_way_in(stack):
    """A client without a key of its own gets nowhere, whatever the family."""
    for path in ("files", "threads/thread_1/runs", "anything/new"):
        assert stack.post(f"/v1/{path}", key=keys.WRONG_CLIENT, json=chat()).status_code == 401
    assert stack.sim.stats()["requests"] == 0
