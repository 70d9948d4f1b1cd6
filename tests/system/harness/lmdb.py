"""A program of somebody else that holds LMDB's lock for writing, as a backup or an administrator's tool may."""

import ctypes.util
import subprocess
import sys

PROGRAM = """
import ctypes, sys
lmdb = ctypes.CDLL(sys.argv[1])
env, txn = ctypes.c_void_p(), ctypes.c_void_p()
assert lmdb.mdb_env_create(ctypes.byref(env)) == 0
assert lmdb.mdb_env_set_maxdbs(env, ctypes.c_uint(4)) == 0
assert lmdb.mdb_env_open(env, sys.argv[2].encode(), ctypes.c_uint(0), ctypes.c_uint(0o600)) == 0
assert lmdb.mdb_txn_begin(env, None, ctypes.c_uint(0), ctypes.byref(txn)) == 0
print("held", flush=True)
sys.stdin.read()
lmdb.mdb_txn_abort(txn)
lmdb.mdb_env_close(env)
"""


class WriteLock:
    """Held within the block."""

    def __init__(self, folder):
        self.folder = folder

    def __enter__(self):
        library = ctypes.util.find_library("lmdb") or "liblmdb.so.0"
        self.process = subprocess.Popen([sys.executable, "-c", PROGRAM, library, str(self.folder)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "held\n"
        return self

    def __exit__(self, *_):
        self.process.communicate(timeout=30)
        assert self.process.returncode == 0
