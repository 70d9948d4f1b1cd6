"""The tables."""

import sys
from pathlib import Path
from statistics import median

from .phases import PERCENTILES, summary

PARTS = ("simulator", "front", "sluice")


DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "performance.md"


def update_document(mark, text):
    """Puts the text between the two comments of that name in the document."""
    begin, end = f"<!-- {mark} -->\n", f"<!-- /{mark} -->\n"
    before, first, rest = DOCUMENT.read_text().partition(begin)
    _, second, after = rest.partition(end)
    if not first or not second:
        sys.exit(f"{DOCUMENT} has no place for these tables: {begin.strip()} and {end.strip()}")
    DOCUMENT.write_text(before + begin + "\n" + text.strip() + "\n\n" + end + after)


def table(heads, rows):
    lines = ["| " + " | ".join(heads) + " |", "| --- |" + " ---: |" * (len(heads) - 1)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def us(value):
    return f"{value:,.0f}" if abs(value) >= 20 else f"{value:.1f}"


def signed(value):
    return f"{value:+,.0f}"


def cpu_columns(rounds):
    return [us(summary(rounds, ["cpu_us", p])) if all(p in one["cpu_us"] for one in rounds) else "" for p in PARTS]


def head(report):
    m = report["machine"]
    commands = "\n".join(report["commands"])
    return (
        f"{report['time']}; {m['cpu']}, {m['cores']} cores, {m['kernel']}; sluice {m['sluice']} ({m['commit']}) with "
        f"{report['workers']} worker(s), libcurl {m['libcurl']}, lighttpd {m['lighttpd']}, nginx {m['nginx']}, Apache "
        f"{m['apache']}, haproxy {m['haproxy']}, Redis {m['redis']}. {report['command']}: {report['seconds']:.0f} s. Other "
        f"programs took {report['others_percent']:.0f}% of the machine's CPU meanwhile; all that is measured ran at nice "
        f"{report['nice']}.\n\n```\n{commands}\n```\n"
    )


# ---- against the aims -------------------------------------------------------------------------------------------


def _streams_of(report, count):
    part = next((part for part in report["streams"] if part["plan"]["streams"] == count), None)
    return part and part["rounds"].get("nginx+sluice")


def _request_aims(report):
    for count, part in report["throughput"].items():
        rounds = part["rounds"].get("nginx+sluice")
        if rounds:
            yield f"Sluice's CPU a request at {count} connections", summary(rounds, ["cpu_us", "sluice"]), 45, "µs"


def _stream_aims(report):
    four, eight = _streams_of(report, 4000), _streams_of(report, 8000)
    if four and all(one["steady"]["gap_us"]["n"] for one in four):
        yield "gap off the pace at 4,000 streams, p99", summary(four, ["steady", "gap_us", "p99"]) / 1000, 2, "ms"
    if four and all("sluice" in one["cpu_us"] for one in four):
        yield "Sluice's CPU an event at 4,000 streams", summary(four, ["cpu_us", "sluice"]), 20, "µs"
    for count, rounds in (("4,000", four), ("8,000", eight)):
        if rounds and "memory" in rounds[0]:
            yield f"memory a stream at {count} streams, RSS", summary(rounds, ["memory", "kib_per_stream", "rss"]), 32, "KiB"


def _aims(report):
    if "nginx+sluice" in report["latency"]["added"]:
        yield "added to a whole reply, p99, one connection", report["latency"]["added"]["nginx+sluice"]["p99"], 250, "µs"
        yield "added to the first event, p99", report["first_event"]["added"]["nginx+sluice"]["p99"] / 1000, 0.5, "ms"
    yield from _request_aims(report)
    yield from _stream_aims(report)
    prompts = report.get("large_prompts", {}).get("rounds", {})
    if "nginx+sluice" in prompts and "nginx" in prompts:
        late = [summary(prompts[name]["with"], ["p99"]) / 1000 for name in ("nginx", "nginx+sluice")]
        yield "added to an event's delay by prompts of 1 MiB, p99 over nginx's", late[1] - late[0], 5, "ms"
    yield "an idle worker, PSS", report["idle"]["worker_kib"]["pss"] / 1024, 10, "MiB"
    yield "first answer after the start, median", median(report["idle"]["start_ms"]), 50, "ms"


def aims(report):
    rows = [[what, f"{found:.2f} {unit}" if abs(found) < 10 else f"{found:.0f} {unit}", f"{most} {unit}",
             "yes" if found <= most else "no"] for what, found, most, unit in _aims(report)]
    for part in report["streams"]:
        for name, rounds in part["rounds"].items():
            wanted, complete = part["plan"]["streams"], min(one["complete"] for one in rounds)
            if name == "nginx+sluice":
                rows.append([f"{wanted:,} streams, complete and in order", f"{complete:,}", f"{wanted:,}",
                             "yes" if complete == wanted else "no"])
    return "### The aims, through nginx\n\n" + table(["", "found", "aim", "met"], rows)


# ---- requests ---------------------------------------------------------------------------------------------------

LATENCY = ["p50", "p99", "p99.9", "added p50", "added p99", "added p99.9"]
CPU = ["simulator's CPU", "front's", "Sluice's"]


def latency_columns(name, rounds, added):
    more = ["", "", ""] if name == "direct" else [signed(added[p]) for p in PERCENTILES]
    return [*(us(summary(rounds, [p])) for p in PERCENTILES), *more]


def latency(title, part):
    rows = [[name, *latency_columns(name, rounds, part["added"][name]), *cpu_columns(rounds)]
            for name, rounds in part["rounds"].items()]
    return f"### {title}\n\n{part['requests']:,} requests each; µs.\n\n" + table(["", *LATENCY, *CPU], rows)


def throughput(count, part):
    rows = [[name, f"{summary(rounds, ['requests_per_second']):,.0f}", *latency_columns(name, rounds, part["added"][name]),
             *cpu_columns(rounds)] for name, rounds in part["rounds"].items()]
    return (f"### Requests at {count} connections\n\nTimes in µs, CPU in µs a request.\n\n"
            + table(["", "requests/s", *LATENCY, *CPU], rows))


def cache(part):
    rows = [[f"{store}: {kind}", *(us(summary(rounds, [p])) for p in PERCENTILES), *cpu_columns(rounds)]
            for store, kinds in part["stores"].items() for kind, rounds in kinds.items()]
    return (f"### The cache, one kept connection through {part['target']}\n\n{part['requests']:,} requests each; µs.\n\n"
            + table(["", "p50", "p99", "p99.9", *CPU], rows))


# ---- streams ----------------------------------------------------------------------------------------------------


def _steady(rounds, kind, percentile):
    if not all(one["steady"][kind]["n"] for one in rounds):
        return ""
    return us(summary(rounds, ["steady", kind, percentile]))


def stream_row(name, rounds):
    steady = [_steady(rounds, *which) for which in (("gap_us", "p50"), ("gap_us", "p99"), ("gap_us", "max"),
                                                    ("delay_us", "p50"), ("delay_us", "p99"))]
    ramp = [us(summary(rounds, ["ramp", "delay_us", "p99"])), us(summary(rounds, ["first_us", "p99"]))]
    kib = [f"{summary(rounds, ['memory', 'kib_per_stream', p]):.1f}" if "memory" in rounds[0] else "" for p in ("rss", "pss")]
    return [name, str(sum(one["complete"] for one in rounds)), *steady, *ramp, *cpu_columns(rounds), *kib]


def streams(part):
    plan = part["plan"]
    heads = ["", "complete, in order", "all open: gap off pace p50", "p99", "max", "delay p50", "p99",
             "starting: delay p99", "first event p99", *CPU, "KiB a stream, RSS", "PSS"]
    rows = [stream_row(name, rounds) for name, rounds in part["rounds"].items()]
    if not plan["memory"]:
        heads, rows = heads[:-2], [row[:-2] for row in rows]
    return (f"### {plan['streams']:,} streams, an event each {plan['pace']} ms\n\n{plan['rounds']} × {plan['events']} events "
            f"a stream, started over {plan['ramp']} ms; times in µs, CPU in µs an event.\n\n" + table(heads, rows))


def large_prompts(part):
    rows = [[f"{name}, {what}", *(us(summary(kinds[kind], [p])) for p in (*PERCENTILES, "max"))]
            for name, kinds in part["rounds"].items() for kind, what in (("none", "no prompts"), ("with", "prompts"))]
    return (f"### Events of {part['streams']} streams while prompts of {part['size'] // 1024:,} KiB come in\n\n"
            f"{part['prompts']} prompts, one after the other; delay of an event in µs. The simulator reads them, too.\n\n"
            + table(["", "p50", "p99", "p99.9", "max"], rows))


def idle(part):
    rows = [
        ["worker, RSS", f"{part['worker_kib']['rss']:,.0f} KiB"],
        ["worker, PSS", f"{part['worker_kib']['pss']:,.0f} KiB"],
        ["worker, private", f"{part['worker_kib']['private']:,.0f} KiB"],
        ["supervisor, PSS", f"{part['supervisor_kib']['pss']:,.0f} KiB"],
        ["start to socket, median; slowest", f"{median(part['ready_ms']):.1f} ms; {part['ready_ms'][-1]:.1f} ms"],
        ["start to first answer, median; slowest", f"{median(part['start_ms']):.1f} ms; {part['start_ms'][-1]:.1f} ms"],
    ]
    return "### Sluice idle\n\n" + table(["", ""], rows)


def markdown(report):
    parts = [
        head(report),
        aims(report),
        latency("Latency of a whole reply, one kept connection", report["latency"]),
        latency("Time to the first event, one kept connection", report["first_event"]),
        *(throughput(count, part) for count, part in report["throughput"].items()),
        *([cache(report["cache"])] if report["cache"] else []),
        *(streams(part) for part in report["streams"]),
        *([large_prompts(report["large_prompts"])] if report.get("large_prompts") else []),
        idle(report["idle"]),
    ]
    return "\n".join(parts)
