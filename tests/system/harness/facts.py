"""What a run of the tests finds out about web servers: a JSON object a line in the file that SLUICE_FRONT_FACTS names.

tests/system/fronts-table makes docs/fronts.md of it."""

import json
import os


def note(front, name, value):
    path = os.environ.get("SLUICE_FRONT_FACTS")
    if path:
        with open(path, "a") as file:
            file.write(json.dumps({"front": front, "name": name, "value": value}) + "\n")
