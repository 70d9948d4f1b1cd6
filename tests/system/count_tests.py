"""Adds up the results of a test run: count_tests.py DIRECTORY

The directory holds a file "expected" with the names of result files: JUnit files, or texts whose last line reads
"N passed, M failed". Prints the sum in that form; fails when a test failed, none ran, or a file is not there.
"""

import re
import sys
from pathlib import Path
from xml.etree import ElementTree

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
    # One that passed at its second try shows the failure of its first.
    failures = max(counts.get("FAILED", 0), 1) if failed else 0
    return counts.get("PASSED", 0), failures, counts.get("SKIPPED", 0)


def count_text(path):
    lines = path.read_text().splitlines()
    match = re.fullmatch(r"(\d+) passed, (\d+) failed(?:, (\d+) skipped)?", lines[-1] if lines else "")
    if not match:
        raise OSError("its last line counts no tests")
    return tuple(int(number or 0) for number in match.groups())


def count_file(path):
    if path.suffix == ".txt":
        return count_text(path)
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


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
