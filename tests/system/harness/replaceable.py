"""A stack whose program is a copy, so that it can be replaced by another one while it runs, and whose log is read as it grows."""

import json
import os
import shutil
import signal
from collections import Counter
from pathlib import Path

from .process import short_directory, wait_until
from .sluice import BINARY
from .stack import Stack


class Replaceable:
    def __init__(self):
        self.place = short_directory()
        self.place.chmod(0o711)
        self.binary = Path(shutil.copy(BINARY, self.place / "sluice"))
        self.events, self._read_to = Counter(), 0

    def start(self, front, log=None, **settings):
        """log: where it is to be, if not on standard error."""
        self.stack = Stack(front, binary=self.binary, LOG_LEVEL="info", LOG_FILE=log, **settings)
        self.sluice = self.stack.sluice
        self.log = log or self.sluice.process.log

    # ---- the log

    def note(self, entry):
        """A line of the log."""
        self.events[entry["event"]] += 1

    def read_log(self):
        """Only what is new is read: the log grows long."""
        with open(self.log, "rb") as log:
            log.seek(self._read_to)
            new = log.read()
        new = new[: new.rfind(b"\n") + 1]
        self._read_to += len(new)
        for line in new.splitlines():
            if line.startswith(b"{"):
                self.note(json.loads(line))

    def read_new_log(self):
        """The file is another one under the old name; the former was read to its end."""
        self._read_to = 0

    def seen(self, event):
        """How often the log names an event."""
        self.read_log()
        return self.events[event]

    # ---- signals

    def _signal(self, number, event):
        before = self.seen(event)
        self.sluice.process.send(number)
        wait_until(lambda: self.sluice.process.must_live() and self.seen(event) > before, event, 60, 0.05)

    def reload(self):
        self._signal(signal.SIGHUP, "reloaded")

    def upgrade(self):
        """A new file under the old name, as a package manager puts it there."""
        shutil.copy(BINARY, self.place / "sluice.new")
        os.rename(self.place / "sluice.new", self.binary)
        self._signal(signal.SIGUSR2, "upgraded")
