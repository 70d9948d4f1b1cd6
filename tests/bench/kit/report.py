"""The tables."""

from statistics import median

from .phases import summary


def table(heads, rows):
    lines = ["| " + " | ".join(heads) + " |", "| --- |" + " ---: |" * (len(heads) - 1)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def us(value):
    return f"{value:,.0f}" if abs(value) >= 20 else f"{value:.1f}"


def signed(value):
    return f"{value:+,.0f}"


def head(report):
    m = report["machine"]
    lines = [
        "# Bench\n",
        f"{report['time']}; {m['cpu']}, {m['cores']} cores, {m['kernel']}; sluice {m['sluice']} with "
        f"{report['workers']} worker(s), libcurl {m['libcurl']}, lighttpd {m['lighttpd']}, nginx {m['nginx']}.",
        f"Other programs took {report['others_percent']:.0f}% of the machine's CPU meanwhile; all that is measured ran "
        f"at nice {report['nice']}.\n",
        "```", *report["commands"], "```\n",
    ]
    return "\n".join(lines)


def latency_rows(part):
    for name, rounds in part["rounds"].items():
        added = part["added"][name]
        yield [name, *(us(summary(rounds, [p])) for p in ("p50", "p90", "p99")),
               *(("", "") if name == "direct" else (signed(added["p50"]), signed(added["p99"])))]


def latency(title, part):
    heads = ["µs", "p50", "p90", "p99", "added p50", "added p99"]
    return f"## {title}\n\n" + table(heads, latency_rows(part))


def throughput(part):
    text = ""
    for count in next(iter(part.values())):
        heads = ["", "requests/s", "p50 µs", "p99 µs", "CPU µs/request: simulator", "front", "sluice"]
        rows = []
        for name, counts in part.items():
            rounds = counts[count]
            cpu = [us(summary(rounds, ["cpu_us", p])) if p in rounds[0]["cpu_us"] else ""
                   for p in ("simulator", "front", "sluice")]
            rows.append([name, f"{summary(rounds, ['requests_per_second']):,.0f}", us(summary(rounds, ["p50_us"])),
                         us(summary(rounds, ["p99_us"])), *cpu])
        text += f"## Requests at {count} connections\n\n" + table(heads, rows) + "\n"
    return text


def stream_row(name, rounds):
    delay = [us(summary(rounds, ["delay_us", p])) for p in ("p50", "p99", "max")]
    first = us(summary(rounds, ["first_us", "p99"]))
    cpu = [us(summary(rounds, ["cpu_us", p])) if p in rounds[0]["cpu_us"] else ""
           for p in ("simulator", "front", "sluice")]
    kib = [f"{summary(rounds, ['memory', 'kib_per_stream', p]):.1f}" if "memory" in rounds[0] else ""
           for p in ("rss", "pss")]
    return [name, str(sum(one["complete"] for one in rounds)), *delay, first, *cpu, *kib]


def streams(part):
    plan = part["plan"]
    heads = ["", "complete, in order", "delay p50 µs", "p99", "max", "first event p99", "CPU µs/event: simulator",
             "front", "sluice", "sluice KiB/stream, RSS", "PSS"]
    rows = [stream_row(name, rounds) for name, rounds in part["rounds"].items()]
    if not plan["memory"]:
        heads, rows = heads[:-2], [row[:-2] for row in rows]
    return (f"## {plan['streams']:,} streams, an event each {plan['pace']} ms, {plan['events']} events\n\n"
            + table(heads, rows))


def idle(part):
    rows = [
        ["worker, RSS KiB", f"{part['worker_kib']['rss']:,.0f}"],
        ["worker, PSS KiB", f"{part['worker_kib']['pss']:,.0f}"],
        ["worker, private KiB", f"{part['worker_kib']['private']:,.0f}"],
        ["supervisor, PSS KiB", f"{part['supervisor_kib']['pss']:,.0f}"],
        ["start to first answer, ms (median)", f"{median(part['start_ms']):.1f}"],
        ["start to first answer, ms (slowest)", f"{part['start_ms'][-1]:.1f}"],
    ]
    return "## Sluice idle\n\n" + table(["", ""], rows)


def markdown(report):
    parts = [
        head(report),
        latency("Latency of a whole reply, one kept connection", report["latency"]),
        latency("Time to the first event, one kept connection", report["first_event"]),
        throughput(report["throughput"]).rstrip("\n") + "\n",
        *(streams(part) for part in report["streams"]),
        idle(report["idle"]),
    ]
    return "\n".join(parts)
