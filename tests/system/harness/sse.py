"""Server-sent events, read strictly and by hand: what the official clients forgive is seen here."""

import json


def data_of(body):
    """The data of each event in a whole body; comments are left out."""
    text = body.decode() if isinstance(body, bytes) else body
    events = []
    for block in text.replace("\r\n", "\n").split("\n\n"):
        lines = [line for line in block.split("\n") if line and not line.startswith(":")]
        if not lines:
            continue
        assert all(line.startswith("data:") for line in lines), f"not an event: {block!r}"
        events.append("\n".join(line[5:].removeprefix(" ") for line in lines))
    return events


def contents_of(events):
    """The texts of the deltas of a chat completion's events, in order; [DONE] must be the last event."""
    assert events and events[-1] == "[DONE]", events[-1:]
    texts = []
    for event in map(json.loads, events[:-1]):
        assert "error" not in event, event
        for choice in event["choices"]:
            if choice["delta"].get("content"):
                texts.append(choice["delta"]["content"])
    return texts


def words(count):
    """The texts that the simulator streams."""
    cycle = "The quick brown fox jumps over the lazy dog".split()
    return [(" " if i else "") + cycle[i % len(cycle)] for i in range(count)]
