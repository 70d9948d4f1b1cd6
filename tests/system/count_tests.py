"""Adds up the results of a test run.

count_tests.py DIRECTORY                     prints "N passed, M failed, K skipped" over its JUnit files; fails when a
                                             test failed, none ran, or a file of DIRECTORY/expected is not there
count_tests.py --write FILE NAME STATUS SEC  writes the JUnit file of one test that was a command
"""

import re
import sys
from pathlib import Path
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

CMOCKA = re.compile(r"^\[  (PASSED|FAILED|SKIPPED) +\] (\d+) test\(s\)", re.M)


def count_case(case):
    """(passed, failed, skipped) of one <testcase>; a cmocka program counts its own tests."""
    failed = case.find("failure") is not None or case.find("error") is not None
    if case.find("skipped") is not None:
        return 0, 0, 1
    output = case.findtext("system-out") or ""
    counts = {kind: int(number) for kind, number in CMOCKA.findall(output)}
    if not counts:
        return int(not failed), int(failed), 0
    # A program may fail without a failed test: a crash, a leak that the sanitizer reports at the end.
    failures = max(counts.get("FAILED", 0), int(failed))
    return counts.get("PASSED", 0), failures, counts.get("SKIPPED", 0)


def count_file(path):
    cases = ElementTree.parse(path).iter("testcase")
    return tuple(sum(column) for column in zip((0, 0, 0), *map(count_case, cases)))


def main(directory):
    passed = failed = skipped = 0
    for name in (directory / "expected").read_text().split():
        try:
            counts = count_file(directory / name)
        except (OSError, ElementTree.ParseError) as problem:
            print(f"{name}: no results ({problem})")
            counts = (0, 1, 0)
        print(f"{Path(name).stem}: {counts[0]} passed, {counts[1]} failed, {counts[2]} skipped")
        passed, failed, skipped = passed + counts[0], failed + counts[1], skipped + counts[2]
    line = f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else "")
    print(line, flush=True)
    return 1 if failed or not passed else 0


def write(path, name, status, seconds):
    failure = "" if status == "0" else f"<failure message={quoteattr(f'status {status}')}/>"
    Path(path).write_text(
        f'<testsuite name={quoteattr(name)}><testcase name={quoteattr(name)} time="{seconds}">{failure}</testcase>'
        "</testsuite>\n"
    )


if __name__ == "__main__":
    if sys.argv[1] == "--write":
        write(*sys.argv[2:])
    else:
        sys.exit(main(Path(sys.argv[1])))
