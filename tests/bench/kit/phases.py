"""The measurements. Each alternates the targets in rounds, so that what the machine does besides hits all alike."""

import json
import subprocess
import time
import urllib.request
from statistics import median

from . import machine
from .machine import BUILD
from .parts import KEY, start_times_ms

PERCENTILES = ("p50", "p99", "p999")

PROMPT = [
    {"role": "system", "content": "You are a helpful assistant. Answer in one sentence."},
    {"role": "user", "content": "What does a sluice do, and why would one build it in front of a river of tokens?"},
]

# What the official Python client sends.
HEADERS = """\
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
Authorization: Bearer KEY
"""


class Broken(Exception):
    """A reply was missing, wrong or out of order: then the figures mean nothing."""


class Loader:
    """Runs the load generator."""

    def __init__(self, lab, key=KEY):
        self.lab, self.key = lab, key
        self.count = 0

    def request(self, **fields):
        """A file that holds a request with these fields."""
        body = json.dumps({"model": "gpt-4o-mini", "messages": PROMPT, **fields}).encode()
        head = HEADERS.replace("KEY", self.key) + f"Content-Length: {len(body)}\n"
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

    def __init__(self, lab, target):
        self.lab, self.target = lab, target
        self.before = self._now()

    def _now(self):
        """Asked anew each time: Apache starts more processes as they are needed."""
        return {name: machine.cpu_ns(pids) for name, pids in self.lab.pids(self.target).items()}

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
                cpu = Cpu(lab, target)
                result = loader.run(target, request, connections=count, milliseconds=milliseconds)
                done = result["complete"]
                found[target.name][str(count)].append({
                    "requests": done,
                    "requests_per_second": done / result["seconds"],
                    **{p: result["total_us"][p] for p in PERCENTILES},
                    "cpu_us": {name: us / done for name, us in cpu.since().items()},
                })
    return {
        str(count): {"rounds": {name: by[str(count)] for name, by in found.items()},
                     "added": _added({name: by[str(count)] for name, by in found.items()})}
        for count in connections
    }


def _latency_rounds(lab, loader, rounds, batch, request, kind, **options):
    found = {target.name: [] for target in lab.targets}
    for target in lab.targets:
        loader.run(target, request, requests=max(batch // 4, 20), **options)
    for turn in range(rounds):
        for target in rotated(lab.targets, turn):
            cpu = Cpu(lab, target)
            result = loader.run(target, request, requests=batch, **options)[kind]
            found[target.name].append({**{name: result[name] for name in (*PERCENTILES, "max")},
                                       "cpu_us": {name: us / batch for name, us in cpu.since().items()}})
    return found


def _added(found):
    """Percentiles of a round less those of the direct call in the same round; then the median over rounds."""
    direct = found["direct"]
    return {
        name: {p: median(mine[p] - its[p] for mine, its in zip(rounds, direct, strict=True)) for p in PERCENTILES}
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


# ---- the cache ---------------------------------------------------------------------------------------------------


def _asked(lab):
    """How many requests the simulator has had."""
    with urllib.request.urlopen(f"http://127.0.0.1:{lab.sim_port}/_sim/stats") as answer:
        return json.load(answer)["requests"]


def _fixed(question):
    """Fields that make a request cacheable."""
    return {"temperature": 0, "seed": 7, "messages": [*PROMPT, {"role": "user", "content": question}]}


CACHE_KINDS = {  # and whether they must go upstream
    "not cacheable": ({}, 1),
    "looked up, missed, stored": (_fixed("@@@@@@@@"), 1),
    "looked up, hit": (_fixed("the same"), 0),
}


def _cache_round(lab, loader, target, kind, batch, number):
    fields, upstream = CACHE_KINDS[kind]
    before, cpu = _asked(lab), Cpu(lab, target)
    result = loader.run(target, loader.request(**fields), requests=batch, **{"first-number": number})
    cpu_us = {name: us / batch for name, us in cpu.since().items()}
    asked = _asked(lab) - before
    if asked != upstream * batch:
        raise Broken(f"{target.name}: of {batch} requests, {kind}, {asked} went upstream")
    return {**{p: result["total_us"][p] for p in PERCENTILES}, "cpu_us": cpu_us}


def cache(lab, loader, rounds, batch, stores, through):
    """One kept connection; what the cache adds to a request, and what an answer out of it costs."""
    target = next((one for one in lab.targets if one.name == through), None)
    if target is None:
        return {}
    found, number = {}, 0
    for store in stores:
        redis = lab.start_redis() if store == "redis" else None
        lab.start_sluice(**({"CACHE__REDIS_URL": redis.url, "REDIS__TIMEOUT_MS": 2000} if redis else {}))
        time.sleep(0.5)  # until Redis is connected
        loader.run(target, loader.request(**CACHE_KINDS["looked up, hit"][0]), requests=20)
        found[store] = {kind: [] for kind in CACHE_KINDS}
        for _ in range(rounds):
            for kind in CACHE_KINDS:
                found[store][kind].append(_cache_round(lab, loader, target, kind, batch, number))
                number += batch
    lab.start_sluice()
    return {"target": target.name, "requests": rounds * batch, "stores": found}


# ---- streams ----------------------------------------------------------------------------------------------------


def _watch(lab, target, child, memory):
    """Follows a load of streams; gives its result with CPU an event and memory while all are open."""
    cpu, first, last, peak = None, None, None, {}
    for text in child.stdout:
        line = json.loads(text)
        if "open" not in line:
            break
        if cpu is None:
            cpu, first = Cpu(lab, target), line["events"]
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
                         stamps=plan["events"], ramp=plan["ramp"], timeout=120000, progress=True)
    with child:
        result, cpu_us, peak = _watch(lab, target, child, plan["memory"])
    found = {"complete": result["complete"], "cpu_us": cpu_us,
             **{name: result[name] for name in ("delay_us", "first_us", "ramp", "steady")}}
    return found, peak


def paced(lab, loader, plan):
    """How long each event takes from the simulator to the client, at a number of open streams."""
    targets = [target for target in lab.targets if target.name not in plan.get("without", [])]
    found = {target.name: [] for target in targets}
    for turn in range(plan["rounds"]):
        for target in rotated(targets, turn):
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


def _beside_prompts(loader, target, stream, streams, prompt, prompts):
    """How late the events of streams are while prompts come in, one after the other; prompts 0: while none does."""
    with loader.start(target, stream, connections=streams, requests=streams, stamps=60, ramp=500) as child:
        time.sleep(0.7)
        if prompts:
            loader.run(target, prompt, requests=prompts)
        return checked(target, json.loads(child.stdout.read()))["steady"]["delay_us"]


def large_prompts(lab, loader, rounds, size, prompts, streams, through):
    """Whether prompts of so many bytes hold up streams, and what that is Sluice's part in."""
    targets = [one for one in lab.targets if one.name in through]
    stream = loader.request(stream=True, metadata={"sim": "ts=1;events=60;pace=50"})
    prompt = loader.request(messages=[{"role": "user", "content": "A word. " * (size // 8)}])
    found = {target.name: {"none": [], "with": []} for target in targets}
    for turn in range(rounds):
        for target in rotated(targets, turn):
            for kind, count in (("none", 0), ("with", prompts)):
                found[target.name][kind].append(_beside_prompts(loader, target, stream, streams, prompt, count))
    return {"size": size, "prompts": prompts, "streams": streams, "rounds": found}


# ---- rest -------------------------------------------------------------------------------------------------------


def idle(lab, starts):
    """Memory of a worker that has served nothing, and the times from its start to its socket and to the first answer."""
    lab.start_sluice()
    time.sleep(0.3)
    pids = lab.sluice_pids()
    times = [start_times_ms(lab) for _ in range(starts)]
    return {
        "worker_kib": {name: value / len(pids) for name, value in machine.memory_kib(pids).items()},
        "supervisor_kib": machine.memory_kib([lab.sluice.process.pid]),
        "ready_ms": sorted(ready for ready, _ in times),
        "start_ms": sorted(answered for _, answered in times),
    }
