"""Calls by openai 0.28. What to do comes as JSON on stdin: the arguments of a chat completion, of which the answer or
each event is printed as a JSON line; or a list of calls, for each of which a JSON line lists the same."""

import json
import os
import sys

import openai

openai.api_base = os.environ["TEST_BASE_URL"]
openai.api_key = os.environ["TEST_KEY"]


def ask(call, arguments):
    resource, method = call.split(".")
    try:
        answer = getattr(getattr(openai, resource), method)(**arguments)
        yield from answer if arguments.get("stream") else [answer]
    except openai.error.OpenAIError as error:
        yield {"raised": type(error).__name__, "message": str(error), "status": error.http_status}


task = json.load(sys.stdin)
if isinstance(task, list):
    for one in task:
        print(json.dumps([*ask(one["call"], *one["arguments"])]))
else:
    for item in ask("ChatCompletion.create", task):
        print(json.dumps(item))
