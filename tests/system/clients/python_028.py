"""One chat completion by openai 0.28. Arguments come as JSON on stdin; results go as JSON lines to stdout."""

import json
import os
import sys

import openai

openai.api_base = os.environ["TEST_BASE_URL"]
openai.api_key = os.environ["TEST_KEY"]

arguments = json.load(sys.stdin)
try:
    answer = openai.ChatCompletion.create(**arguments)
    for item in answer if arguments.get("stream") else [answer]:
        print(json.dumps(item))
except openai.error.OpenAIError as error:
    print(json.dumps({"raised": type(error).__name__, "message": str(error), "status": error.http_status}))
