"""The test's side of the interposer (tests/faults): the layout of its shared file is that of control.h."""

import errno
import mmap
import struct
import subprocess
from pathlib import Path

from .sluice import BINARY

LIBRARY = BINARY.parent / "sluice-faults.so"
KINDS = ("none", "alloc", "read", "write", "accept", "mmap", "epoll", "wait", "poll", "socket", "connect", "descriptor",
         "setting", "disk", "random")
SHORT, END = -1, -2

ERRORS = {
    "alloc": (errno.ENOMEM,),
    "read": (errno.ECONNRESET, errno.EINTR, errno.EAGAIN, SHORT, END),
    "write": (errno.EPIPE, errno.EINTR, errno.EAGAIN, SHORT),
    "accept": (errno.EMFILE, errno.ECONNABORTED, errno.EINTR, errno.ENOMEM),
    "mmap": (errno.ENOMEM,),
    "epoll": (errno.ENOMEM,),
    "wait": (errno.EINTR,),
    "poll": (errno.EINTR, errno.ENOMEM),
    "socket": (errno.EMFILE,),
    "connect": (errno.ECONNREFUSED, errno.ENETUNREACH),
    "descriptor": (errno.EMFILE,),
    "setting": (errno.EINVAL,),
    "disk": (errno.EIO, errno.ENOSPC),
    "random": (errno.EINTR,),
}
"""What each kind of call may say when it fails."""

_WATCHED, _KIND, _ERROR, _COUNTDOWN, _FAILED, _BLOCKS, _BYTES = range(7)
_COUNTS = 7
_TRACE_LEN = _COUNTS + len(KINDS)
_TRACE_MAX = 24


def name_of(error):
    return {SHORT: "half", END: "end"}.get(error) or errno.errorcode[error]


class Faults:
    def __init__(self, directory):
        path = directory / "faults"
        path.write_bytes(bytes(8 * (_TRACE_LEN + 1 + _TRACE_MAX)))
        self._file = open(path, "r+b")
        self._map = mmap.mmap(self._file.fileno(), 0)
        self.environment = {"LD_PRELOAD": LIBRARY, "SLUICE_FAULTS": path}

    def _get(self, place):
        return struct.unpack_from("<q", self._map, 8 * place)[0]

    def _set(self, place, value):
        struct.pack_into("<q", self._map, 8 * place, value)

    def watch(self, pid):
        self._set(_WATCHED, pid)

    def arm(self, kind, error, number):
        """The number-th call of the kind from now on fails."""
        self._set(_COUNTDOWN, 0)
        self._set(_FAILED, 0)
        self._set(_ERROR, error)
        self._set(_KIND, KINDS.index(kind))
        self._set(_COUNTDOWN, number)

    def disarm(self):
        """Whether the call was made, and failed."""
        self._set(_COUNTDOWN, 0)
        return self._get(_FAILED) > 0

    @property
    def counts(self):
        return {kind: self._get(_COUNTS + place) for place, kind in enumerate(KINDS)}

    @property
    def blocks(self):
        """Pieces of memory that the process holds."""
        return self._get(_BLOCKS)

    @property
    def bytes(self):
        return self._get(_BYTES)

    def remember(self, pid):
        """Where the process has its programs, for where() when it has ended."""
        self._maps = Path(f"/proc/{pid}/maps").read_text()

    def where(self):
        """The calls that led to the one that failed, innermost first."""
        addresses = [self._get(_TRACE_LEN + 1 + place) for place in range(self._get(_TRACE_LEN))]
        parts = [line.split() for line in self._maps.splitlines()]
        ranges = [(*(int(end, 16) for end in part[0].split("-")), int(part[2], 16), part[5]) for part in parts
                  if len(part) > 5 and part[5].startswith("/")]
        frames = []
        for address in addresses[2:]:
            for start, end, offset, path in ranges:
                if start <= address < end:
                    frames.append(_name(path, address - start + offset))
        return " < ".join(frames)

    def close(self):
        self._map.close()
        self._file.close()


def _name(path, offset):
    """A position in our own program by its function; in a library by the library's name."""
    if not path.startswith(str(BINARY.parent)):
        return f"{Path(path).name.split('.so')[0]}+{offset:x}"
    found = subprocess.run(["addr2line", "-f", "-s", "-e", path, hex(offset - 1)], capture_output=True, text=True,
                           check=False)
    return ":".join(found.stdout.split()[:2]) or f"+{offset:x}"
