"""What a request costs as a Sluice has more client keys or more open streams: one Sluice for each size, in turns."""

import json
from statistics import median

from . import machine, phases
from .parts import NGINX_FASTCGI, Lab, Target, _nginx, wait_until
from .phases import rotated
from harness.sluice import Sluice


class Size:
    """A Sluice behind an nginx of its own. `count`: how many keys or streams it has."""

    def __init__(self, lab, count, env_file="", **settings):
        self.count = count
        folder = lab.folder(f"sluice-{count}")
        self.sluice = Sluice(folder, env_file, **lab.settings(**settings))
        lab.adopt(self.sluice.process)
        wait_until(self.sluice.workers, "sluice's workers")
        front = _nginx(lab, f"nginx-{count}", f"unix:{self.sluice.socket}", NGINX_FASTCGI, through=True)
        self.target = Target(f"{count:,}", front.port, front.front, through=True)
        self.number = 0
        self.cpu_us = {}

    def measure(self, loader, kind, request, batch, **options):
        """CPU of Sluice a request, in µs."""
        before = machine.cpu_ns(self.sluice.workers())
        loader.run(self.target, request, requests=batch, **{"first-number": self.number}, **options)
        self.number += batch
        spent = (machine.cpu_ns(self.sluice.workers()) - before) / batch / 1000
        self.cpu_us.setdefault(kind, []).append(spent)


def _by_kind(sizes):
    kinds = sizes[0].cpu_us
    return {kind: {size.count: {"median": median(size.cpu_us[kind]), "least": min(size.cpu_us[kind])} for size in sizes}
            for kind in kinds}


# ---- keys -------------------------------------------------------------------------------------------------------

KEY_NAME = "sk-growth-{:08d}"


def keys(counts, rounds, batch):
    lab = Lab(["direct"], 1, with_sluice=False)
    try:
        # Ten requests at once: so many fit for each key of a machine.
        settings = {"CLIENT_API_KEYS": None, "CACHE__SCOPE": "shared", "RATE_LIMIT__CONCURRENT_REQUESTS": 10}
        sizes = [Size(lab, count, "CLIENT_API_KEYS=" + ",".join(KEY_NAME.format(i) for i in range(count)) + "\n", **settings)
                 for count in counts]
        loader = phases.Loader(lab, key="sk-growth-@@@@@@@@")
        hit, chat = loader.request(temperature=0, seed=7), loader.request()
        for size in sizes:  # every key has been seen before
            loader.run(size.target, hit, requests=size.count, connections=8, numbers=size.count, timeout=300000)
        for turn in range(rounds):
            for size in rotated(sizes, turn):
                for kind, request in (("a request", chat), ("a hit", hit)):
                    # A stride of the numbers: each request is another key's.
                    size.number %= size.count
                    size.measure(loader, kind, request, batch, numbers=size.count - size.number)
        return _by_kind(sizes)
    finally:
        lab.stop()


# ---- streams ----------------------------------------------------------------------------------------------------


def _hold(loader, size):
    """Opens streams that say nothing after their first event."""
    request = loader.request(stream=True, metadata={"sim": "events=1;pace=3000000"})
    child = loader.start(size.target, request, connections=size.count, requests=size.count, stamps=1,
                         ramp=size.count, timeout=600000, progress=True)
    line = json.loads(child.stdout.readline())
    if line.get("open") != size.count:
        raise phases.Broken(f"{size.count} streams: {line}")
    return child


def streams(counts, rounds, batch):
    lab = Lab(["direct"], 1, with_sluice=False)
    held = []
    try:
        # Comments to silent streams would be counted as a request's.
        sizes = [Size(lab, count, STREAM__KEEPALIVE_SECONDS=0) for count in counts]
        loader = phases.Loader(lab)
        chat = loader.request()
        stream = loader.request(stream=True, metadata={"sim": "ts=1;events=20;pace=2"})
        for size in sizes:
            held.append(_hold(loader, size))
            loader.run(size.target, chat, requests=200)
        for turn in range(rounds):
            for size in rotated(sizes, turn):
                size.measure(loader, "a request", chat, batch)
                size.measure(loader, "a stream of 20 events", stream, max(batch // 8, 20), stamps=20, connections=4)
                size.measure(loader, "16 new streams at once", stream, max(batch // 8, 32), stamps=20, connections=16)
        return _by_kind(sizes)
    finally:
        for child in held:
            child.kill()
            child.wait()
        lab.stop()
