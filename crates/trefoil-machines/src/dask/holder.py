"""What runs on the cluster: it starts the workers of one pool.

`placer.py` sends this code there, so nothing has to be installed. A Dask task (`hold`) lasts as long as its worker,
which is a process of the pool's own program: that calls the pool back, and gets its work over that connection.
"""

import asyncio
import contextlib
import hashlib
import os
import platform
import subprocess
import sys
import threading

from distributed import get_worker
from distributed.comm import get_address_host
from distributed.diagnostics.plugin import SchedulerPlugin, WorkerPlugin

# How many bytes of the end of what a process writes to standard error are kept.
TAIL = 4096


def machine():
    return f"{sys.platform} {platform.machine()}"


class Holder(WorkerPlugin):
    """Holds workers of one pool on one Dask worker."""

    def __init__(self, digest, key, invitation, arguments, defaults, variables):
        self.digest = digest
        self.key = key
        self.invitation = invitation
        self.arguments = arguments
        self.defaults = defaults
        self.variables = variables
        self.machine = machine()

    def setup(self, worker):
        self.worker = worker
        self.lock = threading.Lock()
        self.program = None
        self.processes = set()
        self.is_over = False

    def teardown(self, worker):
        """Ends all workers: Dask's worker ends, or the pool has."""
        with self.lock:
            self.is_over = True
            for process in self.processes:
                process.stdin.close()
            if self.program is not None:
                os.close(self.program)

    # The program.

    def put(self, data):
        """Keeps the program in a file without a name. Only this process can write to it: a file that others can write to may
        have other bytes by the time that it is executed."""
        if hashlib.sha256(data).hexdigest() != self.digest:
            raise RuntimeError("the program did not arrive whole")
        with self.lock:
            if self.program is None and not self.is_over:
                try:
                    self.keep(data)
                except OSError as error:
                    raise RuntimeError(str(error)) from error

    def keep(self, data):
        with self.room() as file:
            file.write(data)
            file.flush()
            # (A file that is open to be written cannot be executed.)
            self.program = os.open(f"/proc/self/fd/{file.fileno()}", os.O_RDONLY | os.O_CLOEXEC)

    def room(self):
        """A new file without a name: in the Dask worker's directory, or in memory if nothing may be executed there."""
        directory = self.worker.local_directory
        if os.statvfs(directory).f_flag & os.ST_NOEXEC:
            return open(os.memfd_create("trefoil"), "wb")
        path = os.path.join(directory, f"trefoil-{os.urandom(8).hex()}")
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o700)
        os.unlink(path)
        return open(file, "wb")

    # The workers.

    def hold(self, number):
        """Runs a worker until it ends. Returns the Dask worker's address instead if that lacks the program."""
        if (there := machine()) != self.machine:
            raise RuntimeError(f"the program is for {self.machine}, and this Dask worker is {there}")
        with self.lock:
            if self.program is None and not self.is_over:
                return self.worker.address
            process = self.start(number)
            self.processes.add(process)
        tail = b""
        while some := process.stderr.read(1 << 16):
            tail = (tail + some)[-TAIL:]
            with contextlib.suppress(OSError):
                os.write(2, some)
        status = process.wait()
        with self.lock:
            self.processes.discard(process)
            process.stdin.close()
        process.stderr.close()
        if status != 0:
            raise RuntimeError(last_words(tail) or f"its process has ended with the status {status}, and said nothing")
        return None

    def start(self, number):
        """Starts a process that calls the pool back. It ends when its standard input does, and so with this process."""
        if self.is_over:
            raise RuntimeError("the pool has ended")
        name, value = self.invitation
        process = subprocess.Popen(
            self.arguments,
            executable=f"/proc/{os.getpid()}/fd/{self.program}",
            env={**self.defaults, **os.environb, **self.variables, name: value + str(number).encode()},
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        with contextlib.suppress(BrokenPipeError):  # (it has ended, and says why)
            process.stdin.write(self.key + b"\n")
        return process


def last_words(tail):
    lines = [line.strip() for line in tail.decode(errors="replace").splitlines()]
    return next((line for line in reversed(lines) if line), "")


class Watch(SchedulerPlugin):
    """Runs on the scheduler: removes the pool's holders when the pool's client is gone, for whatever reason."""

    def __init__(self, name, client):
        self.name = name + "-watch"
        self.holders = name
        self.client = client

    def remove_client(self, scheduler, client):
        if client == self.client:
            asyncio.ensure_future(self.clear(scheduler))

    async def clear(self, scheduler):
        scheduler.remove_plugin(name=self.name)
        if self.holders in scheduler.worker_plugins:
            await scheduler.unregister_worker_plugin(None, name=self.holders)


def hold(name, number):
    """The task."""
    holder = get_worker().plugins.get(name)
    if holder is None:
        raise RuntimeError("the pool has ended")
    return holder.hold(number)


def put(name, data, dask_worker=None):
    """Gives one Dask worker the program."""
    if (holder := dask_worker.plugins.get(name)) is not None:
        holder.put(data)


def survey(needs, dask_scheduler=None):
    """How many such tasks can run on the cluster at once, and the hosts of its workers."""
    workers = dask_scheduler.workers.values()
    places = 0
    for worker in workers:
        fits = [int(worker.resources.get(name, 0) // amount) for name, amount in needs.items() if amount > 0]
        places += min([worker.nthreads, *fits])
    return places, sorted({get_address_host(worker.address) for worker in workers})
