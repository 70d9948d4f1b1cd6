"""The bodies that the tests send."""

MESSAGES = [
    {"role": "system", "content": "Antworte höflich. 日本語も。"},
    {"role": "user", "content": "Hello \u2603 \"quoted\" \\ and \U0001f600"},
]

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "parameters": {"type": "object", "properties": {"location": {"type": "string"}}},
        },
    }
]


def chat(sim=None, **fields):
    """A chat completion request; `sim` tells the simulator what to do with it."""
    request = {"model": "gpt-4o-mini", "messages": MESSAGES, **fields}
    if sim:
        request["metadata"] = {"sim": sim}
    return request
