"""Connects a pool of trefoil to a Dask cluster.

The pool starts this script as `python3 -c`, with a socket of the pool's as its standard input. On it the pool sends one
socket for each of its workers. On that socket this process speaks as a plain worker does (src/process/wire). The items of a
frame become one task of Dask (or a few, one after the other, if they take long). On Dask's worker a `Holder` hands them to
a process that it has started from the pool's own executable.

On standard input this process writes lines: `ready THREADS`, or `error WORDS`. It ends when the pool closes its end, and
then the scheduler removes everything of this client from the cluster (`Watch`).
"""

import sys

# `-c` puts the working directory before everything else, and whoever can write there would have its files executed here.
sys.path[:] = [place for place in sys.path if place]

import os

# The pool sends frames, and a worker sends records. (A test compares these numbers with src/process/wire/mod.rs.)
FRAME_WELCOME = 0
FRAME_CONTEXT = 1
FRAME_BATCH = 2
FRAME_RECALL = 3
FRAME_FORGET = 4
FRAME_DESCRIPTORS = 5
FRAME_COPY = 6
FRAME_RELEASE = 7
FRAME_BYE = 10
FRAME_TERMS = 11
RECORD_HELLO = 0
RECORD_PANIC = 1
RECORD_CODEC = 2
RECORD_END = 3
RECORD_BEGUN = 4
RECORD_RECALLED = 5
RECORD_DIED = 11

MESSAGE = 1
VALUE = 2

OLDEST = (2024, 1)


def say(words):
    """Writes one line to the pool."""
    try:
        os.write(0, words.replace("\n", " ").encode() + b"\n")
    except OSError:
        pass


def fail(words):
    say("error " + words)
    sys.stderr.flush()
    os._exit(1)


try:
    import dask
    import distributed

    VERSION = distributed.__version__
    if tuple(int(part) for part in VERSION.split(".")[:2] if part.isdigit()) < OLDEST:
        fail(
            f"{sys.executable} has `distributed` {VERSION}, which is too old: 2024.1 is the oldest that will do, in the"
            " cluster too (`python3 -m pip install --upgrade distributed`)"
        )
    from distributed import Client
    from distributed.diagnostics.plugin import SchedulerPlugin, WorkerPlugin
except ImportError as error:
    fail(
        f"{sys.executable} cannot import Dask's `distributed` ({error}): install it there, in the version of the cluster"
        " (`python3 -m pip install distributed`), or name another interpreter with `.python(path)`"
    )

import asyncio
import collections
import concurrent.futures
import contextlib
import hashlib
import ipaddress
import itertools
import logging
import platform
import queue
import random
import select
import signal
import socket
import ssl
import stat
import struct
import subprocess
import threading
import time
import warnings

# ---- The bytes.


def varint(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def read_varint(data, at):
    number = shift = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, at
        shift += 7


def length(number):
    return bytes([number]) if number < 255 else b"\xff" + struct.pack("<Q", number)


def message(*parts):
    return b"".join([bytes([MESSAGE]), length(sum(map(len, parts))), *parts])


def copies(number, data):
    """The frames that copy immutable shared memory to a plain worker, in parts."""
    view, most = memoryview(data), 1 << 20
    for at in range(0, len(view), most):
        part = view[at : at + most]
        head = bytes([FRAME_COPY]) + varint(number) + varint(len(view)) + b"\0"
        yield bytes([MESSAGE]) + length(len(head) + len(part)) + head
        yield part


def text(words):
    data = words.encode()
    return varint(len(data)) + data


def optional(number):
    """An `Option<i32>`."""
    if number is None:
        return b"\0"
    return b"\1" + varint((number << 1) ^ (number >> 63))


def envelope(data, at):
    """The kind, the payload's start and the end of the envelope at `at`, or `None` if it is incomplete."""
    if len(data) < at + 2:
        return None
    size, start = data[at + 1], at + 2
    if size == 255:
        if len(data) < at + 10:
            return None
        (size,) = struct.unpack_from("<Q", data, start)
        start += 8
    if len(data) < start + size:
        return None
    return data[at], start, start + size


def whole(data):
    """How many bytes of complete records `data` begins with; how many items these answer, and begin."""
    at = answered = begun = 0
    while (one := envelope(data, at)) is not None:
        kind, start, at = one
        if kind == VALUE or data[start] in (RECORD_PANIC, RECORD_CODEC):
            answered += 1
        elif data[start] == RECORD_BEGUN:
            begun += 1
    return at, answered, begun


def without(data, answered, begun):
    """The records without those of the first items, which were reported before, from another attempt."""
    at = 0
    while (answered or begun) and (one := envelope(data, at)) is not None:
        kind, start, end = one
        if kind == VALUE or data[start] in (RECORD_PANIC, RECORD_CODEC):
            if not answered:
                break
            answered -= 1
        elif data[start] == RECORD_BEGUN:
            if not begun:
                break
            begun -= 1
        at = end
    return data[at:]


def pack(parts):
    return b"".join(part for one in parts for part in (struct.pack("<Q", len(one)), one))


def unpack(data):
    parts, at = [], 0
    while at < len(data):
        (size,) = struct.unpack_from("<Q", data, at)
        parts.append(data[at + 8 : at + 8 + size])
        at += 8 + size
    return parts


# ---- A task's result, as bytes: Dask serializes these at no cost.

DONE, SLICED, DIED, NEED = 1, 2, 3, 4
OUTCOME = "<BQQQiiII"


def outcome(kind, begun=0, nanos=0, attempt=0, code=None, death=0, words=b"", stderr=b"", records=b""):
    code = -1 if code is None else code
    head = struct.pack(OUTCOME, kind, begun, nanos, attempt, code, death, len(words), len(stderr))
    return b"".join([head, words, stderr, records])


class Outcome:
    def __init__(self, data):
        head = struct.unpack_from(OUTCOME, data)
        self.kind, self.begun, self.nanos, self.attempt, code, death, words, stderr = head
        self.code = code if code >= 0 else None
        self.signal = death or None
        at = struct.calcsize(OUTCOME)
        self.words = data[at : at + words].decode(errors="replace")
        at += words
        self.stderr = data[at : at + stderr]
        self.records = data[at + stderr :]


# ---- On Dask's workers.

TIMED, INITIALIZES, KEEPS = 1, 2, 4
TAIL = 4096
# `TOGETHER` as a task's head: the task has several short frames. `REPORT` as an event's offset: the event has the results
# of such a task so far.
TOGETHER = b"*"
REPORT = -1
# In such a task: how many seconds after the first frame began the finished results are reported, even while a frame runs.
REPORT_AFTER = 0.02
EXECUTABLE = "executable"


MODULE = "trefoil_dask"


def make_known():
    """The task's function, in a module that Dask's processes can import, so that it is pickled by name. (The function stays
    there even if another version of this script comes: everything that may change is in the holder.)"""
    import types

    from distributed import get_worker

    def trefoil(head, items, *kept):
        name, _, head = head.partition(b" ")
        return get_worker().plugins[name.decode()].run(head, items, kept)

    class Failed(Exception):
        """There is no result to keep. (The outcome is an argument of the exception: Dask might truncate its text.)"""

        def __str__(self):
            return "a call of trefoil's has failed"

    module = sys.modules.setdefault(MODULE, types.ModuleType(MODULE))
    if not hasattr(module, "trefoil"):
        for one in (trefoil, Failed):
            one.__module__ = MODULE
            one.__qualname__ = one.__name__
            setattr(module, one.__name__, one)
    return module


class Died(Exception):
    """A process has exited, or was never started."""


class Child:
    """A process that executes the pool's program as a plain worker."""

    def __init__(self, process, hears, says, setup):
        self.process = process
        # A socket to it, and a pipe from it: a pipe keeps many short records in one page, of which a socket makes a packet each.
        self.hears = hears
        self.says = says
        self.setup = setup
        self.contexts = set()
        self.batches = itertools.count()
        self.served = 0
        self.idle_since = 0.0
        self.initialized = b""
        self.tail = bytearray()
        self.lock = threading.Lock()
        self.heard = bytearray()
        # The process's end is told by the kernel: the pipe stays open while a child that it has forked lives. (Kernels before 5.3 do not tell.)
        try:
            self.end = os.pidfd_open(process.pid)
        except OSError:
            self.end = None
        self.poll = select.poll()
        self.poll.register(says, select.POLLIN)
        if self.end is not None:
            self.poll.register(self.end, select.POLLIN)

    def is_fit(self):
        """The initializer has not failed."""
        at = 0
        while (one := envelope(self.initialized, at)) is not None:
            kind, start, at = one
            if kind == MESSAGE and self.initialized[start] in (RECORD_PANIC, RECORD_CODEC):
                return False
        return True

    def read_words(self):
        """Reads what the process has written to standard error. False: the pipe is closed."""
        with self.lock:
            while True:
                try:
                    some = os.read(self.process.stderr.fileno(), 65536)
                except BlockingIOError:
                    return True
                except (OSError, ValueError):
                    return False
                if not some:
                    return False
                self.tail = (self.tail + some)[-TAIL:]
                try:
                    os.write(2, some)
                except OSError:
                    pass

    def is_over(self):
        """Whether the process has exited. It is not reaped, so that `kill` still ends what it started."""
        try:
            return os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return True

    def kill(self):
        """Kills the process, and what it has started and is in its group."""
        try:
            if self.process.returncode is None:  # its number is not another's
                os.killpg(self.process.pid, signal.SIGKILL)
        except OSError:
            pass
        try:
            self.process.kill()
        except OSError:
            pass

    def bury(self):
        """Reaps the process; returns its exit status."""
        self.kill()
        status = self.process.wait()
        self.read_words()
        with self.lock:
            self.process.stderr.close()
        self.hears.close()
        self.says.close()
        if self.end is not None:
            os.close(self.end)
            self.end = None
        return status

    def send(self, parts, wake):
        """Sends all parts; receives meanwhile, so that neither side waits for the other."""
        for part in parts:
            rest = memoryview(part)
            while rest:
                try:
                    rest = rest[self.hears.send(rest, socket.MSG_NOSIGNAL) :]
                except BlockingIOError:
                    wait = select.poll()
                    wait.register(self.hears, select.POLLOUT)
                    wait.register(self.says, select.POLLIN)
                    for other in (wake, self.end):
                        if other is not None:
                            wait.register(other, select.POLLIN)
                    ready = dict(wait.poll())
                    if wake in ready:
                        raise Died
                    if self.says.fileno() in ready:
                        self.receive()
                    elif self.end in ready:
                        raise Died
                except OSError as error:
                    raise Died from error

    def receive(self):
        while True:
            try:
                some = self.says.read(1 << 16)
            except OSError as error:
                raise Died from error
            if some is None:
                return
            if not some:
                raise Died
            self.heard += some
            if len(some) < 1 << 16:
                return

    def wait(self, until, wake):
        """Waits until the process has sent something or `wake` is readable. True: `wake` is."""
        limit = None if until is None else max(0, (until - time.monotonic()) * 1000)
        self.poll.register(wake, select.POLLIN)
        try:
            ready = dict(self.poll.poll(limit))
        finally:
            self.poll.unregister(wake)
        if self.says.fileno() in ready:
            self.receive()
        elif self.end in ready:
            raise Died
        return wake in ready

    def batch(self, head, count, items, run, told=None):
        """Runs the items until all have ended or the time slice is over. Returns the records, how many items have begun,
        the time that they took, and whether items are left."""
        # The low bits count, because a worker has gates for 64 frames in a row; the rest is a number that nothing else contains.
        nonce = varint(random.getrandbits(56) << 6 | 1 << 62 | next(self.batches) & 63)
        payload = [bytes([FRAME_BATCH]), nonce, head]
        size = sum(map(len, payload)) + len(items)
        self.heard.clear()
        self.send([bytes([MESSAGE]) + length(size) + b"".join(payload), items], run.wake)
        recalled, asked, kill_at, seen = None, None, None, 0
        recall_at = time.monotonic() + run.time_slice if run.time_slice and count > 1 else None
        while True:
            if asked is not None and recalled is None:
                # The answer may be anywhere between the other records.
                at = self.heard.find(bytes([RECORD_RECALLED]) + nonce, max(0, seen - 32))
                if at >= 2 and (one := envelope(self.heard, at - 2)) is not None:
                    recalled = True
                    del self.heard[at - 2 : one[2]]
            at = self.heard.rfind(bytes([RECORD_END]) + nonce, max(0, len(self.heard) - 40))
            if at >= 2 and (one := envelope(self.heard, at - 2)) is not None and one[2] == len(self.heard):
                if asked is None or recalled:
                    begun, at_nanos = read_varint(self.heard, at + 1 + len(nonce))
                    nanos, _ = read_varint(self.heard, at_nanos)
                    records = bytes(self.heard[: at - 2])
                    self.heard.clear()
                    if told is not None:
                        told(records)
                    return records, begun, nanos, asked is not None and begun < count
            seen = len(self.heard)
            if told is not None and seen:
                told(self.heard)
            now = time.monotonic()
            if kill_at is not None and now >= kill_at:
                self.kill()
            elif recall_at is not None and now >= recall_at and asked is None:
                asked = False
                self.send([message(bytes([FRAME_RECALL]), nonce, b"\0")], run.wake)
            elif run.report_at is not None and now >= run.report_at:
                run.report()
            until = kill_at or (recall_at if asked is None else None)
            if run.report_at is not None:
                until = run.report_at if until is None else min(until, run.report_at)
            if self.wait(until, run.wake):
                os.read(run.wake, 64)
                if kill_at is None:
                    # The task was cancelled: set the items' tokens, and kill the process after the grace period.
                    asked = True
                    kill_at = time.monotonic() + run.grace
                    self.send([message(bytes([FRAME_RECALL]), nonce, b"\1")], None)


class Run:
    """A task that runs on this worker."""

    def __init__(self, grace):
        # After how many seconds no more of its items begin. 0: there is no limit.
        self.time_slice = 0.0
        self.grace = grace
        self.wake, self.bell = os.pipe()
        self.cancelled = False
        # For a task of several short frames: reports the results so far, and when to do that.
        self.report = None
        self.report_at = None

    def schedule_report(self):
        """A process is about to run a frame: the time until the next report begins."""
        if self.report is not None and self.report_at is None:
            self.report_at = time.monotonic() + REPORT_AFTER

    def cancel(self):
        if not self.cancelled:
            self.cancelled = True
            os.write(self.bell, b"x")

    def close(self):
        os.close(self.wake)
        os.close(self.bell)


class Holder(WorkerPlugin):
    """Holds the processes of one pool on one of Dask's workers."""

    def __init__(self, name, config):
        self.name = name
        self.config = config

    def setup(self, worker):
        make_known()
        self.worker = worker
        self.closing = False
        self.blobs = {}
        self.image = None
        self.idle = []
        self.children = set()
        self.runs = {}
        self.lock = threading.Lock()
        self.more = threading.Condition(self.lock)
        self.orders = queue.SimpleQueue()
        self.bell, self.ring = os.pipe()
        os.set_blocking(self.bell, False)
        os.set_blocking(self.ring, False)
        self.look_for_image()
        # The kernel kills a process when the thread that started it ends: this thread ends with Dask's worker.
        threading.Thread(target=self.keep, name="trefoil-holder", daemon=True).start()

    def teardown(self, worker):
        with self.lock:
            self.closing = True
            for run in self.runs.values():
                run.grace = 0
                run.cancel()
            idle, self.idle = self.idle, []
        for child in idle:
            self.end(child)
        self.wake()

    def transition(self, key, start, finish, **kwargs):
        if key in self.runs and finish in ("cancelled", "released", "forgotten", "error"):
            with self.lock:
                if (run := self.runs.get(key)) is not None:
                    run.cancel()

    # The program.

    def look_for_image(self):
        """Looks for the same executable at the same path on this machine: then it need not be sent."""
        try:
            # It may be anybody's: opening a FIFO would wait, and the end of a file that grows may never come.
            with open(self.config["path"], "rb", opener=lambda path, flags: os.open(path, flags | os.O_NONBLOCK)) as file:
                there = os.fstat(file.fileno())
                if stat.S_ISREG(there.st_mode) and there.st_size == self.config["size"]:
                    self.image = self.copy([file.read(self.config["size"])])
        except OSError:
            return  # it is sent

    def copy(self, parts):
        """The descriptor of a file without a name that has these bytes, or `None` if they are not the program. Only this
        process can write to it: a file that others can write to may have other bytes by the time that it is executed."""
        digest = hashlib.sha256()
        with self.room() as file:
            for some in parts:
                digest.update(some)
                file.write(some)
            file.flush()
            if digest.hexdigest() != self.config["sha256"]:
                return None
            # (A file that is open to be written cannot be executed.)
            return os.open(f"/proc/self/fd/{file.fileno()}", os.O_RDONLY | os.O_CLOEXEC)

    def room(self):
        """A new file without a name: in the directory of Dask's worker, or in memory if nothing may be executed there."""
        directory = self.worker.local_directory
        if os.statvfs(directory).f_flag & os.ST_NOEXEC:
            return open(os.memfd_create("trefoil"), "wb")
        path = os.path.join(directory, f"trefoil-{os.urandom(8).hex()}")
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o700)
        os.unlink(path)
        return open(file, "wb")

    def put(self, blobs):
        """Keeps these blobs. The program goes into a file without a name."""
        if (data := blobs.pop(EXECUTABLE, None)) is not None and self.image is None:
            try:
                self.image = self.copy([data])
            except OSError as error:
                raise RuntimeError(f"{self.worker.local_directory} cannot keep a copy of the program: {error}") from None
            if self.image is None:
                raise RuntimeError("the program did not arrive whole")
        self.blobs.update(blobs)
        with self.more:
            self.more.notify_all()

    def drop(self, names):
        for name in names:
            self.blobs.pop(name, None)

    # The processes.

    def wake(self):
        with self.lock:
            if self.ring is not None:
                try:
                    os.write(self.ring, b"x")
                except OSError:
                    pass

    def keep(self):
        """Starts processes, reads their standard error, and ends those that have been idle for too long."""
        while True:
            poll = select.poll()
            poll.register(self.bell, select.POLLIN)
            with self.lock:
                children = {child.process.stderr.fileno(): child for child in self.children if not child.process.stderr.closed}
                closing = self.closing
            for descriptor in children:
                poll.register(descriptor, select.POLLIN)
            ready = poll.poll(1000)
            for descriptor, _ in ready:
                if descriptor == self.bell:
                    try:
                        os.read(self.bell, 64)
                    except OSError:
                        pass
                elif not children[descriptor].read_words():
                    self.forget_words(children[descriptor])
            while not self.orders.empty():
                setup, answer = self.orders.get()
                try:
                    answer.set_result(self.start(setup))
                except BaseException as error:
                    answer.set_exception(error)
            late = time.monotonic() - self.config["idle"]
            with self.lock:
                old = [child for child in self.idle if child.idle_since < late]
                self.idle = [child for child in self.idle if child.idle_since >= late]
            for child in old:
                self.end(child)
            if closing and not self.children and not self.runs:
                break
        with self.lock:
            for descriptor in (self.bell, self.ring, self.image):
                if descriptor is not None:
                    os.close(descriptor)
            self.ring = None

    def forget_words(self, child):
        """The process has closed its standard error, or has exited."""
        with self.lock:
            self.children.discard(child)
            is_idle = child in self.idle
            if is_idle:
                self.idle.remove(child)
        if is_idle:
            child.bury()

    def start(self, setup):
        config = self.config
        if self.closing:
            raise RuntimeError("the pool has ended")
        if (there := f"{sys.platform} {platform.machine()}") != config["machine"]:
            raise RuntimeError(f"the program is for {config['machine']}, and this worker is {there}")
        hears, its = socket.socketpair()
        hears.setblocking(False)
        hears.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        says, end = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(says, False)
        says = open(says, "rb", buffering=0)
        variables = dict(os.environb)
        variables.update(config["env"])
        invitation = config["invitation"].format(parent=os.getpid(), hears=its.fileno(), says=end)
        variables[b"TREFOIL_WORKER"] = invitation.encode()
        with its, open(end, "wb"):
            process = subprocess.Popen(
                config["args"],
                executable=f"/proc/{os.getpid()}/fd/{self.image}",
                env=variables,
                stdin=subprocess.DEVNULL,
                pass_fds=(its.fileno(), end),
                stdout=subprocess.DEVNULL if config["stdout"] == "null" else None,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        os.set_blocking(process.stderr.fileno(), False)
        child = Child(process, hears, says, setup)
        with self.lock:
            self.children.add(child)
        return child

    def lease(self, setup, run):
        with self.lock:
            if self.closing:
                raise RuntimeError("the pool has ended")
            while self.idle:
                child = self.idle.pop()
                if child.setup == setup and not child.is_over():
                    return child
                child.kill()
        answer = concurrent.futures.Future()
        self.orders.put((setup, answer))
        self.wake()
        child = answer.result()
        try:
            welcome, batch = self.blobs[setup]
            child.send([welcome], run.wake)
            limit = time.monotonic() + 30
            while (hello := envelope(child.heard, 0)) is None:
                if child.wait(limit, run.wake) or time.monotonic() > limit:
                    raise Died
            child.heard.clear()
            if batch is not None:
                head, items = batch
                child.initialized, begun, _, _ = child.batch(head, 1, items, run)
                if not begun:
                    raise Died
        except Died:
            raise self.death(child) from None
        return child

    def death(self, child):
        """Reaps a process, and returns the exception that describes its end."""
        with self.lock:
            self.children.discard(child)
        with contextlib.suppress(Died):
            child.receive()  # what it wrote before
        cut, _, _ = whole(child.heard)
        child.status = child.bury()
        child.last = bytes(child.heard[:cut])
        error = Died()
        error.child = child
        return error

    def end(self, child):
        with self.lock:
            self.children.discard(child)
        child.bury()

    # The tasks.

    def run(self, head, items, kept):
        if head == TOGETHER:
            return self.run_together(items)
        with self.running() as (key, run):
            result = self.run_frame(key, run, head, items, kept)
        if not int(head.split(b" ", 3)[2]) & KEEPS:
            return result
        # The result stays on this worker, and is only the value; any other outcome goes to the gateway.
        kind, records = result[0], Outcome(result).records
        if kind == DONE and (one := self.kept(records)) is not None:
            return one
        raise sys.modules[MODULE].Failed(key, result)

    def run_together(self, data):
        """Runs frames, one after the other, until one fails or the results so far were reported. Returns the result of
        each; frames without a result have not been begun."""
        parts = unpack(data)
        results = []
        with self.running() as (key, run):

            def report():
                run.report = run.report_at = None
                self.worker.log_event(self.name, [key, 0, REPORT, pack(results)])

            run.report = report
            for head, items in zip(parts[::2], parts[1::2]):
                if results and (run.report is None or time.monotonic() >= run.report_at or run.cancelled):
                    break
                try:
                    result = self.run_frame(key, run, head, items, ())
                except Exception:
                    if not results:
                        raise
                    break  # the frame is tried alone, and then it fails by itself
                results.append(result)
                if result[0] != DONE:
                    break
        return pack(results)

    @contextlib.contextmanager
    def running(self):
        key = self.worker.get_current_task()
        run = Run(self.config["grace"])
        with self.lock:
            self.runs[key] = run
        try:
            yield key, run
        finally:
            with self.lock:
                del self.runs[key]
                run.close()

    def run_frame(self, key, run, head, items, kept):
        setup, context, flags, time_slice, count, needs, head = head.split(b" ", 6)
        setup, context, flags, count = setup.decode(), context.decode(), int(flags), int(count)
        needs = [int(number) for number in needs.split(b",") if number]
        run.time_slice = float(time_slice)
        return self.try_run(key, run, setup, context, flags, count, dict(zip(needs, kept)), head, items)

    def kept(self, records):
        """The value among the records of one item, behind the byte that src/process/value/kept.rs expects."""
        at = 0
        while (one := envelope(records, at)) is not None:
            kind, start, at = one
            if kind == VALUE:
                return b"\0" + records[start:at]
            if records[start] != RECORD_BEGUN:
                return None

    def lacks(self, *names):
        wanted = [name for name in names if name != "-" and name not in self.blobs]
        if self.image is None:
            wanted.append(EXECUTABLE)
        return wanted

    def try_run(self, key, run, setup, context, flags, count, kept, head, items):
        wanted = self.lacks(setup, context)
        if wanted and flags & KEEPS:
            # Dask may have restarted this task because its worker was lost, and does not tell the gateway: the blobs may be
            # on their way.
            with self.more:
                self.more.wait_for(lambda: self.closing or not self.lacks(setup, context), 5)
            wanted = self.lacks(setup, context)
        if wanted:
            words = " ".join([self.worker.address, *wanted])
            return outcome(NEED, words=words.encode())
        attempt = random.getrandbits(63)
        try:
            child = self.lease(setup, run)
            if flags & INITIALIZES:
                self.give_back(child, not child.is_fit())
                return outcome(DONE, 1, 0, attempt, records=child.initialized)
            if not child.is_fit():
                self.give_back(child, True)
                raise RuntimeError("the initializer has failed in another process than the first")
            return self.serve(child, run, context, flags, count, kept, head, items, key, attempt)
        except Died as error:
            child = error.child
            status = child.status
            code, death = (status, 0) if status >= 0 else (None, -status)
            return outcome(
                DIED, 0, 0, attempt, code, death, stderr=bytes(child.tail), records=child.last
            )

    def serve(self, child, run, context, flags, count, kept, head, items, key, attempt):
        told = None
        if flags & TIMED:
            place = 0

            def told(heard):
                nonlocal place
                fresh = bytes(heard[place:])
                cut, _, _ = whole(fresh)
                if cut:
                    event = [key, attempt, place, fresh[:cut]]
                    self.worker.log_event(self.name, event)
                    place += cut

        try:
            frames = []
            for gone in child.contexts - self.blobs.keys():
                child.contexts.discard(gone)
                frames.append(message(bytes([FRAME_FORGET]), varint(int(gone))))
            if context != "-" and context not in child.contexts:
                child.contexts.add(context)
                frames.append(self.blobs[context])
            child.tail.clear()
            for number, data in kept.items():
                frames.extend(copies(number, data))
            numbers = [varint(len(kept)), *map(varint, kept)]
            if kept:
                frames.append(message(bytes([FRAME_DESCRIPTORS]), *numbers))
            child.send(frames, run.wake)
            run.schedule_report()
            records, begun, nanos, sliced = child.batch(head, count, items, run, told)
            if kept:
                child.send([message(bytes([FRAME_RELEASE]), *numbers)], None)
        except Died:
            raise self.death(child) from None
        child.served += begun
        old = self.config["replace_after"] and child.served >= self.config["replace_after"]
        # If the process has ended its frame early and was not asked to, it asks to be replaced.
        self.give_back(child, old or begun < count and not sliced)
        return outcome(SLICED if sliced else DONE, begun, nanos, attempt, records=records)

    def give_back(self, child, is_over):
        with self.lock:
            is_over = is_over or self.closing
            if not is_over:
                child.idle_since = time.monotonic()
                self.idle.append(child)
        if is_over:
            self.end(child)


class Watch(SchedulerPlugin):
    """Runs on the scheduler: removes the pool's holders when its client is gone, for whatever reason."""

    def __init__(self, name, client):
        self.name = name + "-watch"
        self.holders = name
        self.client = client

    async def start(self, scheduler):
        make_known()

    def remove_client(self, scheduler, client):
        if client == self.client:
            asyncio.ensure_future(self.clear(scheduler))

    async def clear(self, scheduler):
        scheduler.remove_plugin(name=self.name)
        if self.holders in scheduler.worker_plugins:
            await scheduler.unregister_worker_plugin(None, name=self.holders)


def put(name, blobs, dask_worker=None):
    if (holder := dask_worker.plugins.get(name)) is not None:
        holder.put(blobs)


def drop(name, names, dask_worker=None):
    if (holder := dask_worker.plugins.get(name)) is not None:
        holder.drop(names)


def lacks(name, dask_worker=None):
    holder = dask_worker.plugins.get(name)
    return holder is not None and holder.image is None


# ---- In the gateway.

OF_ARGUMENT, OF_RESULT = 0, 1
SHARED = (
    "this pool is on Dask, whose workers are on machines that share no memory, so that a `Shared` has nothing to be mapped"
    " from: use `map_with`, which sends its context once to each host, a `Bulk`, or a `Remote` of this pool's (and not in a"
    " context)"
)
NOT_BYTES = "it brings something along that is not a part of its bytes, and cannot be kept with them"
LOST = "a result that it needs was lost with a worker of Dask's, and could not be made again"

# A message of the pool on standard input: this byte, and the number of a kept result that the pool has dropped.
FREE = ord("f")

# Exceptions that mean cancellation.
CANCELLED = (asyncio.CancelledError, concurrent.futures.CancelledError)
# After how many seconds a task begins no more items, so that other tasks have their turn. The rest of its frame becomes the
# next task.
TIME_SLICE = 0.4
# Larger arguments in a task's graph slow the scheduler down.
LARGE = 256 << 10
# The longest time for which a submission waits for others.
BEAT = 0.003
# A task of several short frames has at least so many seconds of work, if there are enough frames.
LITTLE = 0.001
# It has at most so many. A frame with as much work or more is a task of its own.
SHORT = 0.005
# How many seconds a frame takes in addition to its items.
HANDLING = 0.0001
# The most functions whose times are remembered: programs have fewer.
FUNCTIONS = 10_000


class Gone(Exception):
    """The scheduler is gone."""


class Frame:
    """A frame of items that the pool has sent to one of its workers."""

    def __init__(self, sequence, code, head, count, flags, context, items):
        self.sequence = sequence
        self.code = code
        self.head = head
        self.count = count
        self.flags = flags
        self.context = context
        self.items = items
        self.asked = False
        self.cancelled = False
        self.refused = False
        # The results on the cluster that its items take; the number under which its own result stays there; Dask's options.
        self.needs = []
        self.keep = 0
        self.options = {}
        self.before = None
        # The future of its own task of Dask's, or the task that it shares with other frames.
        self.future = None
        self.together = None
        self.over = asyncio.get_running_loop().create_future()
        # What the pool has already got of its records: items answered, items begun, and how many bytes of which attempt.
        self.answered = 0
        self.begun = 0
        self.attempt = None
        self.told = 0


class Pending:
    """A frame to submit, as a task of Dask's or as a part of one."""

    def __init__(self, frame, key, head, items, needs, options, work):
        self.frame = frame
        self.key = key
        self.head = head
        self.items = items
        self.needs = needs
        self.options = options
        # How many seconds it should take, if it may share a task with others.
        self.work = work
        self.submitted = asyncio.get_running_loop().create_future()


class Together:
    """Short frames that share one task of Dask's: a task for each would cost Dask far more than the frames take."""

    def __init__(self, members, future):
        self.members = [(one.frame, asyncio.get_running_loop().create_future()) for one in members]
        self.future = future
        for one, (frame, answer) in zip(members, self.members):
            frame.together = self
            one.submitted.set_result(answer)

    def tell(self, results, missing):
        """Delivers the results of the first frames. The frames from `missing` on were not begun, and are submitted alone."""
        for at, (_, answer) in enumerate(self.members):
            if not answer.done():
                if at < len(results):
                    answer.set_result(results[at])
                elif at >= missing:
                    answer.set_result(None)

    def fail(self):
        self.tell([], 0)

    def is_unwanted(self):
        return all(frame.cancelled or answer.done() for frame, answer in self.members)


def rest_of(frame, begun):
    """The rest of a frame after its first `begun` items."""
    at = 0
    items = frame.items
    for _ in range(begun):
        size = items[at]
        at += 1
        if size == 255:
            (size,) = struct.unpack_from("<Q", items, at)
            at += 8
        at += size
    return items[at:]


class Virtual:
    """A worker as the pool sees it."""

    def __init__(self, gateway, reader, writer):
        self.gateway = gateway
        self.reader = reader
        self.writer = writer
        self.frames = {}
        self.last = None
        self.is_new = True
        self.contexts = set()
        # The results that the next frame takes, and its options; and the contexts that named some.
        self.brings = []
        self.terms = (0, {})
        self.refused = set()
        self.closed = False

    async def serve(self):
        try:
            while True:
                head = await self.reader.readexactly(2)
                size = head[1]
                if size == 255:
                    (size,) = struct.unpack("<Q", await self.reader.readexactly(8))
                if not self.take(await self.reader.readexactly(size)):
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.close()

    def take(self, data):
        kind = data[0]
        gateway = self.gateway
        if kind == FRAME_BATCH:
            self.batch(data)
        elif kind == FRAME_WELCOME:
            size, at = read_varint(data, 1)
            copy = data[at : at + size]
            gateway.welcome = message(data)
            self.writer.write(message(bytes([RECORD_HELLO]), varint(len(copy)), copy))
        elif kind == FRAME_DESCRIPTORS:
            count, at = read_varint(data, 1)
            for _ in range(count):
                number, at = read_varint(data, at)
                self.brings.append(number)
        elif kind == FRAME_TERMS:
            self.terms = self.read_terms(data)
        elif kind == FRAME_CONTEXT:
            number, _ = read_varint(data, 1)
            self.contexts.add(number)
            if self.brings:
                self.refused.add(number)
            self.brings = []
            gateway.keep_context(number, data)
        elif kind == FRAME_FORGET:
            number, _ = read_varint(data, 1)
            self.forget(number)
        elif kind == FRAME_RECALL:
            sequence, at = read_varint(data, 1)
            if (frame := self.frames.get(sequence)) is not None:
                frame.asked = True
                if data[at]:
                    self.cancel(frame)
        elif kind == FRAME_BYE:
            return False
        return True

    def read_terms(self, data):
        keep, at = read_varint(data, 1)
        priority, at = read_varint(data, at)
        priority = priority >> 1 ^ -(priority & 1)
        count, at = read_varint(data, at)
        resources = {}
        for _ in range(count):
            size, at = read_varint(data, at)
            name, at = data[at : at + size].decode(), at + size
            bits, at = read_varint(data, at)
            (resources[name],) = struct.unpack("<d", struct.pack("<Q", bits))
        usual = self.gateway.config["options"]
        options = {}
        if priority:
            options["priority"] = usual.get("priority", 0) + priority
        if resources:
            options["resources"] = {**usual.get("resources", {}), **resources}
        return keep, options

    def forget(self, number):
        if number in self.contexts:
            self.contexts.discard(number)
            self.gateway.forget_context(number)

    def batch(self, data):
        gateway = self.gateway
        sequence, behind = read_varint(data, 1)
        _, at = read_varint(data, behind)
        _, at = read_varint(data, at)
        before = at
        count, at = read_varint(data, at)
        timed = data[at]
        context, at = read_varint(data, at + 3)
        lent, at = read_varint(data, at)
        if lent:
            raise ConnectionError("memory cannot be lent")
        # The frame's head without its sequence number, and with another count.
        code, options = data[behind:before], data[before + len(varint(count)) : at]
        head = lambda count: code + varint(count) + options
        flags = TIMED if timed else 0
        if self.is_new and gateway.initializes:
            flags |= INITIALIZES
            gateway.initializer = (head(count), data[at:])
        self.is_new = False
        frame = Frame(sequence, code, head, count, flags, context, data[at:])
        frame.needs, self.brings = self.brings, []
        frame.refused = context in self.refused or any(number not in gateway.kept for number in frame.needs)
        (frame.keep, frame.options), self.terms = self.terms, (0, {})
        self.frames[sequence] = frame
        if frame.keep:
            gateway.keeping.add(frame.keep)
        before, self.last = self.last, frame
        gateway.begin(self.run(frame, before))

    def cancel(self, frame):
        if not frame.cancelled:
            frame.cancelled = True
            self.gateway.unwanted(frame)

    def close(self):
        if self.closed:
            return
        self.closed = True
        for frame in list(self.frames.values()):
            self.cancel(frame)
        for number in list(self.contexts):
            self.forget(number)
        self.gateway.virtuals.discard(self)
        self.writer.close()

    async def run(self, frame, before):
        """Runs a frame, and reports its results after those of the frames before it."""
        gateway = self.gateway
        nanos = 0
        try:
            if before is not None and before.sequence in self.frames:
                frame.before = before.over
            count = frame.count
            begun = 0
            while True:
                try:
                    if frame.cancelled:
                        raise asyncio.CancelledError
                    if frame.refused:
                        await self.turn(frame)
                        return self.refuse(frame)
                    result = await gateway.execute(self, frame, count - begun)
                except CANCELLED:
                    await self.turn(frame)
                    if frame.cancelled:
                        return self.withdrawn(frame, begun, nanos)
                    gateway.check()
                    raise Gone("Dask has cancelled what was to run") from None
                await self.turn(frame)
                if frame.cancelled:
                    return self.withdrawn(frame, begun, nanos)
                self.tell(frame, result)
                nanos += result.nanos
                gateway.learn(frame.code, result)
                if result.kind == DIED:
                    return self.died(result.code, result.signal, result.stderr, result.words)
                begun += result.begun
                if result.kind == DONE or frame.asked or begun >= count:
                    return self.end(frame, begun, nanos)
                frame.items = rest_of(frame, result.begun)
                # The next task's records are reported from their beginning.
                frame.attempt, frame.told, frame.answered, frame.begun = None, 0, 0, 0
        except Gone as gone:
            await self.turn(frame)
            if gateway.loss is None and frame.begun == frame.answered:
                # One of its items may be the cause: the first is blamed, because nothing more is known.
                self.write(message(bytes([RECORD_BEGUN])))
            self.died(None, None, b"", str(gone))
        except Exception as error:
            await self.turn(frame)
            if gateway.client.status != "running":
                gateway.lost()
            self.died(None, None, b"", gateway.loss or f"{type(error).__name__}: {error}")
        finally:
            self.frames.pop(frame.sequence, None)
            gateway.keeping.discard(frame.keep)
            frame.over.set_result(None)
            if self.last is frame:
                self.last = None
            try:
                await self.writer.drain()
            except OSError:
                pass

    async def turn(self, frame):
        if frame.before is not None:
            await frame.before

    def write(self, data):
        if not self.closed:
            self.writer.write(data)

    def tell(self, frame, result):
        """Sends the pool those records that it has not got yet."""
        records = result.records
        if frame.attempt == result.attempt:
            records = records[frame.told :]
        elif frame.attempt is not None:
            records = without(records, frame.answered, frame.begun)
        self.write(records)

    def event(self, frame, attempt, place, records):
        """Records that a frame with timed items has made so far."""
        if frame.before is not None and not frame.before.done():
            return
        if frame.attempt is None:
            frame.attempt = attempt
        if frame.attempt != attempt or frame.told != place or frame.cancelled:
            return
        _, answered, begun = whole(records)
        frame.told += len(records)
        frame.answered += answered
        frame.begun += begun
        self.write(records)

    def end(self, frame, begun, nanos):
        self.write(message(bytes([RECORD_END]), varint(frame.sequence), varint(begun), varint(nanos)))

    def refuse(self, frame):
        record = message(bytes([RECORD_BEGUN])) + message(bytes([RECORD_CODEC, OF_ARGUMENT]), text(SHARED))
        self.write(record * frame.count)
        self.end(frame, frame.count, 0)

    def withdrawn(self, frame, begun, nanos):
        """The pool has cancelled the rest of the frame, and what still runs is being ended. Its earlier tasks ran `begun` items."""
        begun += frame.begun
        if frame.begun > frame.answered:
            self.write(message(bytes([RECORD_PANIC]), text("it was cancelled"), b"\0"))
        self.end(frame, begun, nanos)

    def died(self, code, death, stderr, words):
        self.write(
            message(
                bytes([RECORD_DIED]),
                optional(code),
                optional(death),
                text(stderr.decode(errors="replace")),
                text(words),
            )
        )
        self.close()


class Gateway:
    def __init__(self, config):
        self.config = config
        self.initializes = config.get("initializer") == "1"
        self.welcome = None
        self.initializer = None
        self.setup = None
        self.virtuals = set()
        self.frames = {}
        self.together = {}
        # The seconds that an item takes, by function.
        self.item_seconds = {}
        self.contexts = {}
        self.blobs = {}
        self.workers = {}
        self.pending = []
        self.submitted = 0.0
        self.done = []
        self.fetching = 0
        self.numbers = itertools.count()
        self.loss = None
        self.tasks = set()
        self.name = f"trefoil-{os.urandom(8).hex()}"
        # Results that stay on the cluster, by the pool's numbers, and the numbers of those that are being computed.
        self.kept = {}
        self.keeping = set()
        known = make_known()
        self.task, self.failed = known.trefoil, known.Failed

    def begin(self, work):
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    # Contexts, the program, and the first frames of every process.

    def keep_context(self, number, data):
        users, push = self.contexts.get(number, (0, None))
        if push is None:
            name = str(number)
            self.blobs[name] = message(data)
            push = asyncio.ensure_future(self.push([name]))
        self.contexts[number] = (users + 1, push)

    def forget_context(self, number):
        users, push = self.contexts[number]
        if users > 1:
            self.contexts[number] = (users - 1, push)
            return
        del self.contexts[number]
        name = str(number)
        self.blobs.pop(name, None)
        self.begin(self.clear(name, push))

    async def clear(self, name, push):
        try:
            await push
            await self.client.run(drop, self.name, [name], on_error="ignore")
        except Exception:
            pass

    async def push(self, names, workers=None):
        blobs = {name: self.blobs[name] for name in names if name in self.blobs}
        return await self.client.run(put, self.name, blobs, workers=workers, on_error="return")

    async def prepare(self):
        """Waits until the first frames of every process are known, and were sent to Dask's workers."""
        if self.setup is None:
            data = (self.welcome, self.initializer)
            name = hashlib.sha256(repr(data).encode()).hexdigest()[:16]
            self.blobs[name] = data
            self.setup = (name, asyncio.ensure_future(self.push([name])))
        name, push = self.setup
        await asyncio.shield(push)
        return name

    # Tasks.

    async def execute(self, virtual, frame, count):
        """Runs items on the cluster."""
        setup = await self.prepare()
        context = "-"
        if frame.context:
            context = str(frame.context)
            await asyncio.shield(self.contexts[frame.context][1])
        time_slice = 0 if frame.flags & INITIALIZES else TIME_SLICE
        flags = frame.flags | (KEEPS if frame.keep else 0)
        needs = ",".join(map(str, frame.needs))
        head = f"{self.name} {setup} {context} {flags} {time_slice} {count} {needs} ".encode()
        head += frame.head(count)
        items, large = frame.items, None
        inputs = [self.kept[number] for number in frame.needs]
        options = {**frame.options, "retries": 0} if frame.keep else frame.options
        attempts = 0
        needs = 0
        alone = flags or inputs or options
        while True:
            self.check()
            if len(items) > LARGE and large is None:
                large = await self.client.scatter(items, hash=False)
            key = f"trefoil-{self.name[8:]}-{next(self.numbers)}"
            if not self.pending:
                # Frames that are submitted together cost the scheduler less.
                pause = max(0, self.submitted + BEAT - time.monotonic())
                asyncio.get_running_loop().call_later(pause, self.submit)
            work = None if alone or large is not None else self.work(frame.code, count)
            one = Pending(frame, key, head, items if large is None else large, inputs, options, work)
            self.pending.append(one)
            self.frames[key] = (virtual, frame)
            try:
                future = await one.submitted
                if frame.together is None:
                    frame.future = future
                if frame.cancelled:
                    self.unwanted(frame)
                if frame.together is not None:
                    if (result := await future) is None:
                        if frame.cancelled:
                            raise asyncio.CancelledError
                        alone = True
                        continue
                    result = Outcome(result)
                elif frame.keep:
                    result = await self.keep(frame, key)
                else:
                    result = Outcome(await self.result(future))
            except CANCELLED:
                if frame.cancelled or self.loss or self.client.status != "running":
                    raise
                # Large arguments were lost with a worker.
                attempts += 1
                if attempts > self.config["retries"] + 3:
                    raise
                large = None
                continue
            except Gone:
                raise
            except self.failed as error:
                raise Gone(LOST) from error
            except Exception as error:
                if type(error).__name__ == "KilledWorker" and attempts < self.config["retries"]:
                    attempts += 1
                    continue
                raise Gone(f"Dask could not run it: {type(error).__name__}: {error}") from error
            finally:
                del self.frames[key]
                frame.future = frame.together = None
            if result.kind != NEED:
                return result
            needs += 1
            if needs > 100:
                raise Gone("what a worker needs does not get to it")
            address, *names = result.words.split()
            error = (await self.push(names, [address])).get(address)
            if isinstance(error, RuntimeError):  # of `Holder.put`; another means that the worker is gone
                raise Gone(f"Dask's worker at {address} can run nothing: {error}")

    async def keep(self, frame, key):
        """Keeps the result on the cluster. Returns the records that say so, or why there is no result."""
        future = frame.future
        await future._state.wait()
        begun = message(bytes([RECORD_BEGUN]))
        if future.status == "finished":
            if frame.keep in self.keeping:
                self.kept[frame.keep] = future
            # `None`, as src/process/value/kept.rs encodes it: the value, its description, and the length of that.
            return Outcome(outcome(DONE, 1, records=begun + bytes([VALUE, 6, 0, 17, 1, 0, 0, 0])))
        try:
            await future
            raise Gone(LOST)
        except self.failed as error:
            of, data = error.args
            if of != key:
                raise Gone(LOST) from error
        result = Outcome(data)
        if result.kind == DONE and RECORD_BEGUN == result.records[2] and self.has_value(result.records):
            result.records = begun + message(bytes([RECORD_CODEC, OF_RESULT]), text(NOT_BYTES))
        return result

    def has_value(self, records):
        at = 0
        while (one := envelope(records, at)) is not None:
            if one[0] == VALUE:
                return True
            at = one[2]
        return False

    def free(self, number):
        self.keeping.discard(number)
        if (future := self.kept.pop(number, None)) is not None:
            future.release()

    async def result(self, future):
        """A task's result. The results of tasks that end at about the same time are fetched together."""
        await future._state.wait()
        if future.status != "finished":
            return await future
        fetched = asyncio.get_running_loop().create_future()
        self.done.append((future, fetched))
        if self.fetching < 2:
            self.fetching += 1
            self.begin(self.fetch())
        return await fetched

    async def fetch(self):
        while self.done:
            done, self.done = self.done, []
            try:
                results = await self.client.gather([future for future, _ in done])
            except BaseException:
                # At least one of them cannot be fetched: fetch each by itself.
                for future, fetched in done:
                    self.begin(self.fetch_one(future, fetched))
                continue
            for (_, fetched), result in zip(done, results):
                if not fetched.done():
                    fetched.set_result(result)
        self.fetching -= 1

    async def fetch_one(self, future, fetched):
        try:
            fetched.set_result(await future)
        except CANCELLED:
            fetched.cancel()
        except Exception as error:
            fetched.set_exception(error)

    def work(self, code, count):
        """How many seconds a frame with `count` items of a function should take. `None` if that is `SHORT` or more, or not
        known: then the frame is a task of its own."""
        item_seconds = self.item_seconds.get(code)
        work = SHORT if item_seconds is None else item_seconds * count + HANDLING
        return work if work < SHORT else None

    def learn(self, code, result):
        if result.begun:
            if len(self.item_seconds) > FUNCTIONS:
                self.item_seconds.clear()
            seen = result.nanos / 1e9 / result.begun
            self.item_seconds[code] = (self.item_seconds.get(code, seen) + seen) / 2

    def submit(self):
        """Submits everything that is pending."""
        self.submitted = time.monotonic()
        pending, self.pending = self.pending, []
        # Tasks that are submitted in one message have the same options.
        alone, short, others = [], [], []
        for one in pending:
            if one.needs or one.options or not isinstance(one.items, bytes):
                others.append(one)
            else:
                (alone if one.work is None else short).append(one)
        self.submit_some([[one] for one in alone] + self.joined(short))
        for one in others:
            self.submit_some([[one]])

    def joined(self, short):
        """Groups short frames into tasks."""
        share = sum(one.work for one in short) / max(1, sum(self.workers.values()))
        most = min(SHORT, max(LITTLE, share))
        tasks = []
        work = size = 0
        for one in short:
            if not tasks or work + one.work > most or size + len(one.items) > LARGE:
                tasks.append([])
                work = size = 0
            tasks[-1].append(one)
            work += one.work
            size += len(one.items)
        return tasks

    def submit_some(self, tasks):
        if not tasks:
            return
        keys = [members[0].key for members in tasks]
        heads, items = zip(*map(self.arguments, tasks))
        try:
            if len(tasks) == 1:
                one = tasks[0][0]
                options = {**self.config["options"], **one.options}
                futures = [
                    self.client.submit(self.task, heads[0], items[0], *one.needs, key=keys[0], pure=False, **options)
                ]
            else:
                futures = self.client.map(
                    self.task, heads, items, key=keys, pure=False, **self.config["options"]
                )
        except Exception as error:
            for one in itertools.chain(*tasks):
                one.submitted.set_exception(error)
            return
        for members, future in zip(tasks, futures):
            if len(members) == 1:
                members[0].submitted.set_result(future)
            else:
                self.begin(self.wait_for(members[0].key, Together(members, future)))

    def arguments(self, members):
        if len(members) == 1:
            return members[0].head, members[0].items
        parts = [part for one in members for part in (one.head.partition(b" ")[2], one.items)]
        return f"{self.name} ".encode() + TOGETHER, pack(parts)

    async def wait_for(self, key, together):
        self.together[key] = together
        try:
            results = unpack(await self.result(together.future))
            together.tell(results, len(results))
        except BaseException:
            # Each frame is tried alone, so that no frame fails because of another.
            together.fail()
        finally:
            del self.together[key]

    def unwanted(self, frame):
        if frame.together is not None:
            if frame.together.is_unwanted():
                self.begin(self.cancel(frame.together.future))
        elif frame.future is not None:
            self.begin(self.cancel(frame.future))

    async def cancel(self, future):
        try:
            await self.client.cancel([future], asynchronous=True, force=True)
        except Exception:
            pass

    def event(self, event):
        _, (key, attempt, place, records) = event
        if place == REPORT:
            if (together := self.together.get(key)) is not None:
                results = unpack(records)
                together.tell(results, len(results) + 1)
                if together.is_unwanted():
                    self.begin(self.cancel(together.future))
        elif (one := self.frames.get(key)) is not None:
            virtual, frame = one
            virtual.event(frame, attempt, place, records)

    # The cluster.

    async def look_around(self):
        """Updates the list of Dask's workers; returns those that are new."""
        threads = dict(await asyncio.wait_for(self.client.scheduler.ncores(workers=None), 30))
        new = threads.keys() - self.workers.keys()
        self.workers = threads
        return list(new)

    async def watch(self):
        try:
            while True:
                await asyncio.sleep(0.5)
                if self.client.status != "running":
                    break
                if new := await self.look_around():
                    self.begin(self.greet(new))
        except Exception:
            pass
        self.lost()

    async def greet(self, workers):
        names = [name for name in self.blobs if name != EXECUTABLE]
        try:
            await self.push(names, workers)
            await self.bring_executable(workers)
        except Exception:
            pass

    async def bring_executable(self, workers):
        answers = await self.client.run(lacks, self.name, workers=workers, on_error="ignore")
        lacking = [address for address, lacking in answers.items() if lacking is True]
        if lacking:
            await self.push([EXECUTABLE], lacking)

    def check(self):
        """Raises `Gone` if there is no scheduler any more."""
        if self.client.status != "running":
            self.lost()
        if self.loss:
            raise Gone(self.loss)

    def lost(self):
        if self.loss:
            return
        self.loss = f"the connection to Dask's scheduler at {self.address} is lost: it has ended, or cannot be reached"
        say("error " + self.loss)
        for virtual in list(self.virtuals):
            virtual.died(None, None, b"", self.loss)
        asyncio.ensure_future(self.leave())

    async def leave(self):
        await asyncio.sleep(0.2)
        os._exit(1)

    # The pool.

    async def connect(self):
        config = self.config
        arguments = {}
        address = config.get("scheduler")
        if (file := config.get("file")) is not None:
            import json

            try:
                with open(file) as opened:
                    address = json.load(opened)["address"]
            except (OSError, ValueError, KeyError) as error:
                fail(f"{file} is no scheduler file of Dask's: {error}")
        if address is None:
            address = dask.config.get("scheduler-address", None)
            if address is None:
                fail(
                    "no scheduler is named: set DASK_SCHEDULER_ADDRESS, or `scheduler-address` in Dask's configuration"
                )
        self.address = address
        if config.get("plaintext") != "1" and not is_private(address):
            fail(
                f"{address} is another machine, and this connection would neither be encrypted nor prove which machine answers:"
                " use Dask with TLS (`tls://`), or allow it by name with `.allow_plaintext(true)`"
            )
        try:
            self.client = await Client(
                address, asynchronous=True, set_as_default=False, timeout=config["timeout"], **arguments
            )
        except Exception as error:
            fail(f"Dask's scheduler at {address} cannot be reached: {why(address, error)}")
        with open(config["exe"], "rb") as file:
            program = file.read()
        self.blobs[EXECUTABLE] = program
        holder = Holder(
            self.name,
            {
                "path": os.path.realpath(config["exe"]),
                "size": len(program),
                "sha256": hashlib.sha256(program).hexdigest(),
                "machine": f"{sys.platform} {platform.machine()}",
                "args": config["args"],
                "env": config["env"],
                "invitation": config["invitation"],
                "stdout": config.get("stdout", "inherit"),
                "grace": float(config.get("grace", "0.02")),
                "idle": 10.0,
                "replace_after": int(config.get("replace_after", "0")),
            },
        )
        try:
            await self.client.register_plugin(Watch(self.name, self.client.id), name=self.name + "-watch")
            await self.client.register_plugin(holder, name=self.name)
            self.client.subscribe_topic(self.name, self.event)
            if new := await self.look_around():
                await self.bring_executable(new)
        except Exception as error:
            fail(f"the workers of Dask at {address} could not be prepared: {type(error).__name__}: {error}")
        # (The cluster's interpreters must have this one's versions: otherwise registering the holder has just failed.)
        say(f"ready {sum(self.workers.values())}")
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 2)

    async def serve(self):
        await self.connect()
        control = socket.socket(fileno=os.dup(0))
        control.setblocking(False)
        loop = asyncio.get_running_loop()
        over = loop.create_future()
        heard = bytearray()

        def come():
            try:
                data, descriptors, _, _ = socket.recv_fds(control, 64, 64)
            except BlockingIOError:
                return
            except OSError:
                data = b""
                descriptors = []
            for descriptor in descriptors:
                self.begin(self.open(socket.socket(fileno=descriptor)))
            heard.extend(data)
            while heard and (heard[0] != FREE or len(heard) > 8):
                if heard[0] == FREE:
                    self.free(int.from_bytes(heard[1:9], "little"))
                del heard[: 9 if heard[0] == FREE else 1]
            if not data and not over.done():
                over.set_result(None)

        loop.add_reader(control.fileno(), come)
        self.begin(self.watch())
        await over
        os._exit(0)

    async def open(self, end):
        reader, writer = await asyncio.open_unix_connection(sock=end, limit=1 << 20)
        virtual = Virtual(self, reader, writer)
        self.virtuals.add(virtual)
        if self.loss:
            virtual.died(None, None, b"", self.loss)
        await virtual.serve()


def why(address, error):
    """Why a connection has failed, in words."""
    last, causes = error, []
    while error is not None:
        causes.append(error)
        error = error.__cause__ or error.__context__
    keys = (
        "`ca-file`, `client.cert` and `client.key` under `distributed.comm.tls` (or"
        " DASK_DISTRIBUTED__COMM__TLS__CA_FILE, DASK_DISTRIBUTED__COMM__TLS__CLIENT__CERT and ..._KEY)"
    )
    words = ""
    # (Whether its alert is read, or only the end of the connection, is a matter of time.)
    alerts = any(isinstance(one, ssl.SSLError) and "ALERT" in str(one.reason) for one in causes)
    if any(isinstance(one, ssl.SSLCertVerificationError) for one in causes):
        words = "its certificate is not signed by the authority that Dask's configuration names here as `distributed.comm.tls.ca-file`"
    elif address.startswith("tls:") and (alerts or isinstance(last, (ConnectionError, distributed.comm.CommClosedError))):
        words = (
            "it has closed the connection, as it does if the certificate of this process (`distributed.comm.tls.client.cert` of"
            " Dask's configuration) is not signed by the authority that it trusts, or if it does not speak TLS"
        )
    elif isinstance(last, FileNotFoundError) and address.startswith("tls:"):
        words = f"a file that Dask's configuration names for TLS is missing: look at {keys}"
    elif isinstance(last, TypeError) and address.startswith("tls:"):
        words = f"Dask's configuration names no certificate for this process: set {keys}"
    elif isinstance(last, ValueError) and address.startswith("tls:"):
        words = "what is there does not speak TLS"
    elif address.startswith("tcp:") and isinstance(last, (ConnectionError, distributed.comm.CommClosedError)):
        words = "it has closed the connection, as a scheduler with TLS does (its address begins with `tls://`)"
    return f"{words} ({type(last).__name__}: {last})" if words else f"{type(last).__name__}: {last}"


def is_private(address):
    """Whether everything sent to `address` stays on this machine, or is encrypted."""
    scheme, _, rest = address.partition("://")
    if not rest:
        scheme, rest = "tcp", address
    if scheme in ("tls", "wss", "inproc"):
        return True
    host = rest.split("/")[0].rpartition(":")[0].strip("[]")
    try:
        found = {one[4][0] for one in socket.getaddrinfo(host or rest, None)}
    except OSError as error:
        # (The name may resolve a moment later, and then to any machine.)
        fail(f"Dask's scheduler at {address} cannot be reached: {error}")
    return all(ipaddress.ip_address(one.partition("%")[0]).is_loopback for one in found)


def settings():
    """Parses the arguments: `name=value`, some of them repeated."""
    config = {"args": [], "env": {}, "options": {}, "retries": 2, "timeout": 5}
    resources = {}
    for argument in map(os.fsencode, sys.argv[1:]):
        name, _, value = argument.partition(b"=")
        name = name.decode()
        if name == "arg":
            config["args"].append(value)
        elif name == "resource":
            key, _, value = value.partition(b"=")
            resources[key.decode()] = float(value)
        elif name == "retries":
            config["retries"] = int(value)
        elif name == "priority":
            config["options"]["priority"] = int(value)
        else:
            config[name] = os.fsdecode(value)
    # Variables are not among the arguments, which every user of the machine can see.
    for number in itertools.count():
        if (variable := os.environb.pop(b"GATEWAY_VARIABLE_%d" % number, None)) is None:
            break
        key, _, value = variable.partition(b"=")
        config["env"][key] = value
    if resources:
        config["options"]["resources"] = resources
    config["options"]["retries"] = config["retries"]
    return config


def main():
    warnings.simplefilter("ignore")
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    # (Dask would look for the source of the code that submits a task, each time.)
    dask.config.set({"distributed.diagnostics.computations.nframes": 0})
    asyncio.run(Gateway(settings()).serve())


if __name__ == "__main__":
    main()
