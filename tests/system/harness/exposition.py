"""Prometheus' text format, read strictly: what a scraper would make of /metrics."""

import re
from collections import defaultdict

SAMPLE = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)')


def _labels(text):
    labels, at = {}, 0
    while at < len(text):
        match = LABEL.match(text, at)
        assert match, f"not labels: {text!r}"
        assert match[1] not in labels, text
        labels[match[1]] = match[2].replace("\\n", "\n").replace('\\"', '"').replace("\\\\", "\\")
        at = match.end()
    return labels


class Page:
    """One answer of /metrics: families with their types, and samples by name and labels."""

    def __init__(self, text):
        self.types, self.samples = {}, defaultdict(dict)
        assert text.endswith("\n")
        for line in text.splitlines():
            if line.startswith("# TYPE "):
                _, _, name, kind = line.split(" ")
                assert name not in self.types, f"two families {name}"
                self.types[name] = kind
            elif line.startswith("#"):
                assert line.startswith(("# HELP ", "# UNIT ", "# EOF")), line
            else:
                match = SAMPLE.match(line)
                assert match, f"not a sample: {line!r}"
                key = tuple(sorted(_labels(match[2] or "").items()))
                assert key not in self.samples[match[1]], f"twice: {line}"
                self.samples[match[1]][key] = float(match[3])

    def sum(self, metric, **labels):
        """Over all samples that have these labels."""
        wanted = {(label, str(value)) for label, value in labels.items()}
        return sum(value for key, value in self.samples[metric].items() if wanted <= set(key))

    def by(self, metric, label, **labels):
        """The sum for each value of a label; zeros are left out."""
        found = defaultdict(float)
        wanted = {(name, str(value)) for name, value in labels.items()}
        for key, value in self.samples[metric].items():
            if value and wanted <= set(key):
                found[dict(key)[label]] += value
        return dict(found)


def scrape(stack, **headers):
    answer = stack.http.get("/metrics", headers=headers)
    assert answer.status_code == 200, answer.text
    return Page(answer.text)
