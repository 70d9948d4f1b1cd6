"""Writes the tables of docs/fronts.md: fronts_table.py FACTS DOCUMENT

FACTS is what harness/facts.py has written; the tables stand between <!-- table --> and <!-- /table -->.
"""

import json
import re
import sys
from pathlib import Path

NAMES = {
    "lighttpd": "lighttpd, unix socket",
    "lighttpd-tcp": "lighttpd, TCP",
    "lighttpd-spawn": "lighttpd starts Sluice",
    "nginx": "nginx, unix socket",
    "nginx-kept": "nginx, unix socket, kept",
    "nginx-tcp": "nginx, TCP",
    "nginx-tcp-kept": "nginx, TCP, kept",
    "apache-proxy": "Apache mod_proxy_fcgi, unix socket",
    "apache-proxy-tcp": "Apache mod_proxy_fcgi, TCP",
    "apache-fcgid": "Apache mod_fcgid",
}


def load(path):
    """facts[front][name]: the last value that was noted."""
    facts = {}
    for line in Path(path).read_text().splitlines():
        fact = json.loads(line)
        facts.setdefault(fact["front"], {})[fact["name"]] = fact["value"]
    return facts


def milliseconds(value):
    return f"{value:.1f}" if value < 10 else f"{value:.0f}"


def delay(fact):
    return f"{milliseconds(fact['median'])} / {milliseconds(fact['max'])}" if fact else "–"


def departure(fact):
    if fact is None:
        return "not seen"
    if fact < 1:
        return "< 1 ms"
    return f"{milliseconds(fact)} ms" if fact < 1000 else f"{fact / 1000:.1f} s"


def yes(fact):
    return "yes" if fact else "no"


def silence(facts):
    held = {int(re.search(r"\d+", name).group()): value for name, value in facts.items() if name.startswith("silence of")}
    return ", ".join(f"{seconds} s" if value is True else f"not {seconds} s" for seconds, value in sorted(held.items()))


def size(fact):
    return f"yes, {fact:.0f} s" if fact else "no"


def paths(facts):
    seen = [value for name, value in facts.items() if name.startswith("path ")]
    return "as sent" if seen and all(seen) else "changed"


def connections(fact):
    return f"{fact['for 5 requests']} for 5 requests" if fact else "–"


def chunked(fact):
    if not fact:
        return "–"
    length = "length known" if fact["CONTENT_LENGTH"] else "length unknown"
    return f"{'while it comes' if fact['while it comes'] else 'when it is whole'}, {length}"


TABLES = (
    ("Time. A delay is that of one event, from the upstream's write to the client's read: median / longest of 40 events, "
     "25 ms apart, over TLS. A departure is the time until the request at the upstream is cancelled.", (
         ("delay, HTTP/1.1 (ms)", lambda f: delay(f.get("delay 1.1"))),
         ("delay, HTTP/2 (ms)", lambda f: delay(f.get("delay 2"))),
         ("departure while events come", lambda f: departure(f.get("departure while events come"))),
         ("in a pause (comments each second)", lambda f: departure(f.get("departure in a pause"))),
         ("before the answer", lambda f: departure(f.get("departure before the answer"))),
         ("silence that was survived", silence),
     )),
    ("What passes.", (
        ("540 MiB upload", lambda f: size(f.get("540 MiB"))),
        ("chunked body reaches Sluice", lambda f: chunked(f.get("chunked"))),
        ("HTTP/2 body without a length", lambda f: yes(f.get("body of unknown length over HTTP/2"))),
        ("header line of 60,000 bytes", lambda f: yes(f.get("header of 60000 bytes") == 200)),
        ("percent-encoded path", paths),
        ("head before the first byte of the body", lambda f: yes(f.get("head without a body"))),
        ("connections to Sluice", lambda f: connections(f.get("connections"))),
    )),
)


def table(facts, columns):
    lines = ["| | " + " | ".join(title for title, _ in columns) + " |", "| --- |" + " --- |" * len(columns)]
    for front, name in NAMES.items():
        if front in facts:
            lines.append(f"| {name} | " + " | ".join(cell(facts[front]) for _, cell in columns) + " |")
    return "\n".join(lines)


def shared_hosting(facts):
    """The delay that a host's default settings cause."""
    found = facts.get("shared-hosting", {})
    default = found.get("delay ()")
    return f"\n\nOn a shared host with mod_fcgid's defaults (20 events, 25 ms apart): {delay(default)} ms." if default else ""


def main(facts_path, document):
    facts = load(facts_path)
    text = "\n\n".join(f"{title}\n\n{table(facts, columns)}" for title, columns in TABLES) + shared_hosting(facts)
    page = Path(document).read_text()
    page, count = re.subn(r"(?s)(<!-- table -->).*(<!-- /table -->)", lambda m: f"{m[1]}\n{text}\n{m[2]}", page)
    assert count == 1, f"{document} has no place for the table"
    Path(document).write_text(page)


if __name__ == "__main__":
    main(*sys.argv[1:])
