"""The measurements. Each alternates the targets in rounds, so that what the machine does besides hits all alike."""

import json
import subprocess
import time
from statistics import median

from . import machine
from .machine import BUILD
from .parts import KEY, start_time_ms

PROMPT = [
    {"role": "system", "content": "You are a helpful assistant. Answer in one sentence."},
    {"role": "user", "content": "What does a sluice do, and why would one build it in front of a river of tokens?"},
]

# What the official Python client sends.
HEADERS = f"""\
Host: 127.0.0.1
Accept-Encoding: identity
Connection: keep-alive
Accept: application/json
Content-Type: application/json
User-Agent: OpenAI/Python 1.99.0
X-Stainless-Lang: python
X-Stainless-Package-Version: 1.99.0
X-Stainless-OS: Linux
X-Stainless-Arch: x64
X-Stainless-Runtime: CPython
X-Stainless-Runtime-Version: 3.11.2
X-Stainless-Async: false
X-Stainless-Retry-Count: 0
X-Stainless-Read-Timeout: 600
Authorization: Bearer {KEY}
"""


class Broken(Exception):
    """A reply was missing, wrong or out of order: then the figures mean nothing."""


class Loader:
    """Runs the load generator."""

    def __init__(self, lab):
        self.lab = lab
        self.count = 0

    def request(self, **fields):
        """A file that holds a request with these fields."""
        body = json.dumps({"model": "gpt-4o-mini", "messages": PROMPT, **fields}).encode()
        head = HEADERS + f"Content-Length: {len(body)}\n"
        path = self.lab.directory / f"request-{self.count}"
        self.count += 1
        text = "POST /v1/chat/completions HTTP/1.1\n" + head + "\n"
        path.write_bytes(text.replace("\n", "\r\n").encode() + body)
        return path

    def start(self, target, request, **options):
        command = [str(BUILD / "sluice-bench-load"), "--port", str(target.port), "--request", str(request)]
        for name, value in options.items():
            command += [f"--{name}"] if value is True else [f"--{name}", str(value)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
        machine.favour(child.pid)
        return child

    def run(self, target, request, **options):
        with self.start(target, request, **options) as child:
            return checked(target, json.loads(child.stdout.read()))


def checked(target, result):
    bad = {name: result[name] for name in ("broken", "wrong", "disordered") if result[name]}
    if bad or result["timed_out"] or not result["complete"]:
        raise Broken(f"{target.name}: {json.dumps(result)}")
    return result


def rotated(targets, turn):
    """The same order each round would give one target always the same neighbour."""
    turn %= len(targets)
    return targets[turn:] + targets[:turn]


class Cpu:
    """CPU time by part between two moments."""

    def __init__(self, parts):
        self.parts = parts
        self.before = self._now()

    def _now(self):
        return {name: machine.cpu_ns(pids) for name, pids in self.parts.items()}

    def since(self):
        return {name: (now - self.before[name]) / 1000 for name, now in self._now().items()}


def summary(rounds, path):
    """The median over rounds of a figure in each."""
    def value(one):
        for name in path:
            one = one[name]
        return one
    return median(value(one) for one in rounds)


# ---- requests ---------------------------------------------------------------------------------------------------


def throughput(lab, loader, rounds, milliseconds, connections):
    """Requests a second, and CPU a request by process."""
    request = loader.request()
    found = {target.name: {str(n): [] for n in connections} for target in lab.targets}
    for turn in range(rounds):
        for count in connections:
            for target in rotated(lab.targets, turn):
                cpu = Cpu(lab.pids(target))
                result = loader.run(target, request, connections=count, milliseconds=milliseconds)
                done = result["complete"]
                found[target.name][str(count)].append({
                    "requests_per_second": done / result["seconds"],
                    "p50_us": result["total_us"]["p50"],
                    "p99_us": result["total_us"]["p99"],
                    "cpu_us": {name: us / done for name, us in cpu.since().items()},
                })
    return found


def _latency_rounds(lab, loader, rounds, batch, request, kind, **options):
    found = {target.name: [] for target in lab.targets}
    for target in lab.targets:
        loader.run(target, request, requests=max(batch // 4, 20), **options)
    for turn in range(rounds):
        for target in rotated(lab.targets, turn):
            result = loader.run(target, request, requests=batch, **options)[kind]
            found[target.name].append({name: result[name] for name in ("p50", "p90", "p99", "p999", "max")})
    return found


def _added(found):
    """Percentiles of a round less those of the direct call in the same round; then the median over rounds."""
    direct = found["direct"]
    return {
        name: {p: median(mine[p] - its[p] for mine, its in zip(rounds, direct, strict=True)) for p in ("p50", "p99")}
        for name, rounds in found.items()
    }


def latency(lab, loader, rounds, batch):
    """Whole replies at one kept connection."""
    found = _latency_rounds(lab, loader, rounds, batch, loader.request(), "total_us")
    return {"requests": rounds * batch, "rounds": found, "added": _added(found)}


def first_event(lab, loader, rounds, batch):
    """From the request to the first event of a stream whose second event comes a millisecond later."""
    request = loader.request(stream=True, metadata={"sim": "ts=1;events=1;pace=1"})
    found = _latency_rounds(lab, loader, rounds, batch, request, "first_us", stamps=1)
    return {"requests": rounds * batch, "rounds": found, "added": _added(found)}


# ---- streams ----------------------------------------------------------------------------------------------------


def _watch(lab, target, child, memory):
    """Follows a load of streams; gives its result with CPU an event and memory while all are open."""
    cpu, first, last, peak = None, None, None, {}
    for text in child.stdout:
        line = json.loads(text)
        if "open" not in line:
            break
        if cpu is None:
            cpu, first = Cpu(lab.pids(target)), line["events"]
        last = (line["events"], cpu.since())
        if memory and target.through:
            now = machine.memory_kib(lab.sluice_pids())
            peak = {name: max(value, peak.get(name, 0)) for name, value in now.items()}
    result = checked(target, line)
    events = last[0] - first if last else 0
    cpu_us = {name: us / events for name, us in last[1].items()} if events else {}
    return result, cpu_us, peak


def one_paced(lab, loader, target, plan):
    """`plan` says how many streams, the pace, how many events each, and over how long they start."""
    request = loader.request(stream=True, metadata={"sim": f"ts=1;events={plan['events']};pace={plan['pace']}"})
    child = loader.start(target, request, connections=plan["streams"], requests=plan["streams"],
                         stamps=plan["events"], ramp=plan["ramp"], progress=True)
    with child:
        result, cpu_us, peak = _watch(lab, target, child, plan["memory"])
    found = {"complete": result["complete"], "delay_us": result["delay_us"], "cpu_us": cpu_us,
             "first_us": result["first_us"]}
    return found, peak


def paced(lab, loader, plan):
    """How long each event takes from the simulator to the client, at a number of open streams."""
    found = {target.name: [] for target in lab.targets}
    for turn in range(plan["rounds"]):
        for target in rotated(lab.targets, turn):
            idle = None
            if plan["memory"] and target.through:
                lab.start_sluice()
                loader.run(target, loader.request(), requests=20)
                idle = machine.memory_kib(lab.sluice_pids())
            one, peak = one_paced(lab, loader, target, plan)
            if idle and peak:
                one["memory"] = {"idle_kib": idle, "open_kib": peak, "kib_per_stream":
                                 {name: (peak[name] - idle[name]) / plan["streams"] for name in idle}}
            found[target.name].append(one)
    return {"plan": plan, "rounds": found}


# ---- rest -------------------------------------------------------------------------------------------------------


def idle(lab, starts):
    """Memory of a worker that has served nothing, and the time from start to the first answer."""
    lab.start_sluice()
    time.sleep(0.3)
    pids = lab.sluice_pids()
    return {
        "worker_kib": {name: value / len(pids) for name, value in machine.memory_kib(pids).items()},
        "supervisor_kib": machine.memory_kib([lab.sluice.process.pid]),
        "start_ms": sorted(start_time_ms(lab) for _ in range(starts)),
    }
