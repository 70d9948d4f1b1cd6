"""No key that a test used may be in anything that Sluice leaves behind: plain, in base64, percent form or hex, nor any part of
one that is longer than a fingerprint.

Keys are noted where a program is given them: in its environment, in a settings file, as a client's. Searched are the
directories that a test gives back, what programs printed, and the answers that Sluice itself made. Three rules say what is
left out:

- a file that a test or its harness wrote (settings, configurations): every open() for writing in this process is noted;
- what the simulator wrote: it stands for OpenAI, who knows its own keys;
- keys of less than KEY_MIN characters: they are a few letters, which stand in any text.

Each process of a parallel run looks after what it started. The search is grep's: one pass over the bytes for blocks of which
every long enough part holds one whole, and then a close look at what is around a find.
"""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from urllib.parse import unquote, urlsplit

from . import keys

PART = 13
"""One more than a fingerprint has."""
KEY_MIN = 16
AROUND = 256
SECRET_SETTINGS = ("OPENAI_API_KEY", "CLIENT_API_KEYS", "METRICS__TOKEN", "API_KEY_MAPPING", "KEY_ALIASES",
                   "RATE_LIMIT__OVERRIDES", "CACHE__REDIS_URL", "SLUICE_DOCTOR_KEY", "TEST_KEY")
LINE = re.compile(r"^\s*(?:export\s+)?(\w+)\s*=\s*(.*?)\s*$", re.M)


# ---- forms --------------------------------------------------------------------------------------------------------------


def _base64_forms(secret):
    """As it stands in a longer text, by where it begins there; without what depends on the neighbours."""
    for shift in range(3):
        text = base64.b64encode(b"\0" * shift + secret)
        inner = text[-(-8 * shift // 6):8 * (shift + len(secret)) // 6]
        yield inner, PART * 8 // 6 - 1
        yield inner.translate(bytes.maketrans(b"+/", b"-_")), PART * 8 // 6 - 1


def forms(secret):
    """(text, how much of it is too much)"""
    secret = secret.encode()
    hexadecimal = secret.hex().encode()
    percent = b"".join(b"%%%02x" % byte for byte in secret)
    return {(secret, PART), *_base64_forms(secret), (hexadecimal, 2 * PART), (hexadecimal.upper(), 2 * PART),
            (percent, 3 * PART), (percent.upper(), 3 * PART)}


class Search:
    """For a set of secrets."""

    def __init__(self, secrets):
        self.windows, blocks = {}, set()
        for secret in secrets:
            for text, length in forms(secret):
                owners = self.windows.setdefault(length, {})
                owners.update((text[at:at + length], secret) for at in range(len(text) - length + 1))
                step = (length + 1) // 2
                blocks.update(text[at:at + step] for at in range(0, len(text) - step + 1, step))
        self.patterns = tempfile.NamedTemporaryFile()  # goes with this object
        self.patterns.write(b"\n".join(sorted(blocks)))
        self.patterns.flush()

    def look(self, data):
        """The secrets of which data holds a part that is too long."""
        return {owners[data[at:at + length]] for length, owners in self.windows.items()
                for at in range(len(data) - length + 1) if data[at:at + length] in owners}

    def _grep(self, options, places=(), data=None):
        """Takes what is between NULs for a line (-z), and so skips the holes of sparse files."""
        result = subprocess.run(["grep", "-zaF", *options, "-f", self.patterns.name, "--", *map(str, places)],
                                input=data, capture_output=True, env={**os.environ, "LC_ALL": "C"}, check=False)
        assert result.returncode in (0, 1) or b"No such file" in result.stderr, result.stderr
        return result

    def find_blocks(self, places):
        """{path: blocks} of all regular files at these places that have any. (Behind a hole grep's offsets are wrong.)"""
        fields = self._grep(["-roH", "-D", "skip", "--null"], places).stdout.split(b"\0")[:-1]
        found = {}
        for path, block in zip(fields[0::2], fields[1::2]):
            found.setdefault(os.fsdecode(path), set()).add(block)
        return found

    def holds_block(self, data):
        return self._grep(["-q"], data=data).returncode == 0


# ---- what is known ------------------------------------------------------------------------------------------------------

_known = set()
_search = None
_written = set()  # by this process
_foreign = set()  # ports
_heard = {}       # answers of Sluice's own: the bytes, and one place where they came from


def note(*secrets):
    global _search
    new = {secret for secret in secrets if len(secret) >= KEY_MIN} - _known
    if new:
        _known.update(new)
        _search = None


def _note_json(value):
    """The names of an object are client keys; the texts in it upstream keys, or a client's plain name."""
    if isinstance(value, dict):
        note(*value)
        for name, inner in value.items():
            note(*[text for text in (inner, isinstance(inner, dict) and inner.get("key")) if isinstance(text, str)])


def note_settings(settings):
    """The secrets among the options that a program is given."""
    for name in SECRET_SETTINGS:
        value = str(settings.get(name) or "")
        if name == "CACHE__REDIS_URL":
            note(unquote(urlsplit(value).password or ""))
        elif value.startswith("{"):
            try:
                found = json.loads(value)
            except ValueError:
                continue  # a mistake that a test makes
            _note_json(dict.fromkeys(found) if name == "KEY_ALIASES" else found)
        else:
            note(*(part.strip() for part in value.split(",")))


def note_settings_text(text):
    """The same of a settings file."""
    note_settings({name: value[1:-1] if value[:1] in ("'", '"') else value for name, value in LINE.findall(text)})


def search():
    global _search
    if _search is None:
        _search = Search(_known)
    return _search


def _on_audit(event, arguments):
    if event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
        _written.add(os.path.realpath(arguments[0]) if isinstance(arguments[0], (str, os.PathLike)) else None)


def is_output(path):
    """A file that this process opens, for another program to write to."""
    _written.discard(os.path.realpath(path))


def is_foreign(path):
    """A file that is not Sluice's, though another program writes it."""
    _written.add(os.path.realpath(path))


def is_foreign_port(port):
    """Of the simulator."""
    _foreign.add(port)


def hear(response):
    """An answer of httpx: kept where it is one of Sluice's own, an error or a page."""
    url = response.request.url
    if url.port not in _foreign and (response.status_code >= 400 or not url.path.startswith("/v1/")):
        head = "".join(f"{name}: {value}\n" for name, value in response.headers.items()).encode()
        _heard.setdefault(head + response.content, f"{url.path} {response.status_code}")


def start():
    """Once in a process: notes files that are written, and answers that are read."""
    import httpx

    note(*keys.ALL)
    sys.addaudithook(_on_audit)
    read, aread = httpx.Response.read, httpx.Response.aread

    def heard_read(response):
        body = read(response)
        _hear_of_client(response)
        return body

    async def heard_aread(response):
        body = await aread(response)
        _hear_of_client(response)
        return body

    httpx.Response.read, httpx.Response.aread = heard_read, heard_aread


def _hear_of_client(response):
    if getattr(response, "_request", None) is not None:
        hear(response)


# ---- looking ------------------------------------------------------------------------------------------------------------


def _shorten(secret):
    return f"{secret[:8]}…"


def leaks_in_text(name, *texts):
    data = b"\0".join(text if isinstance(text, bytes) else text.encode() for text in texts)
    return [f"{name}: {_shorten(secret)}" for secret in search().look(data)]


def leaks_in_files(*places):
    """What is found in files at these places, directories with all that is below them."""
    places = [place for place in places if os.path.lexists(place)]
    found = search().find_blocks(places) if places else {}
    return sorted(f"{path}: {_shorten(secret)}" for path, blocks in found.items() if os.path.realpath(path) not in _written
                  for secret in _look_closely(path, blocks))


def _look_closely(path, blocks):
    secrets = set()
    with open(path, "rb") as file:
        for data in _filled(file):
            for block in blocks:
                at = data.find(block)
                while at >= 0:
                    secrets |= search().look(data[max(0, at - AROUND):at + AROUND])
                    at = data.find(block, at + AROUND // 2)
    return secrets


def _filled(file):
    """What lies between the holes of a file."""
    end = 0
    while True:
        try:
            begin = os.lseek(file.fileno(), end, os.SEEK_DATA)
            end = os.lseek(file.fileno(), begin, os.SEEK_HOLE)
        except OSError:  # there is no more
            return
        yield os.pread(file.fileno(), end - begin, begin)


def leaks_in_answers():
    """In those that were heard since the last time."""
    heard = dict(_heard)
    _heard.clear()
    if not heard or not search().holds_block(b"\0".join(heard)):
        return []
    return [found for data, name in heard.items() for found in leaks_in_text(name, data)]


def check(*places):
    """Fails where something is found at these places, or in the answers that came."""
    found = leaks_in_files(*places) + leaks_in_answers()
    assert not found, "secrets were left behind:\n" + "\n".join(found[:20])


def remove_directory(directory):
    """Gives a test's directory back; fails where a secret is in it."""
    try:
        check(directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
