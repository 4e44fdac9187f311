"""Places the workers of a pool on a Dask cluster.

The pool starts this script as `python3 -c SCRIPT HOLDER`, where HOLDER is the source of `holder.py`, and writes lines to its
standard input. The words of a line are separated by one space each, and quoted as in URLs:

    connect scheduler=ADDRESS | file=PATH, plaintext=1 if that is allowed, resource=NAME=AMOUNT for each
    hold    exe=PATH, name=POOL, key=KEY, invitation=NAME=VALUE, retries=N, priority=N, then what each worker gets:
            argument=WORD for each, from the program's name on, variable=NAME=VALUE for each, and
            default=NAME=VALUE for each that counts only where Dask's worker does not have it
    place N     a worker
    cancel N    it is not wanted any more

This process answers with lines, too:

    ready PLACES ADDRESS    after `connect`: how many workers fit, and an address of this machine that the cluster reaches
    ended N WORDS           worker N has ended, or could not be started
    error WORDS             the cluster is lost, or there is none; this process ends

It ends when its standard input does. Then, or when it is killed, the scheduler removes everything of it (`Watch`).
"""

import sys

# `-c` puts the working directory before everything else, and whoever can write there would have its files executed here.
sys.path[:] = [place for place in sys.path if place]

import asyncio
import concurrent.futures
import hashlib
import ipaddress
import json
import logging
import os
import socket
import ssl
import types
import warnings
from urllib.parse import unquote_to_bytes

OLDEST = (2024, 1)

# How long the scheduler may take to answer, in seconds, and how often it is looked at.
TIMEOUT = 5
LOOK = 0.5

# How many times the program may be sent for one worker: each time to a Dask worker that lacks it.
ROUNDS = 100

# To how many Dask workers the program is sent at once, and how long that may take, in seconds.
AT_ONCE = 4
TRANSFER = 300

CANCELLED = (asyncio.CancelledError, concurrent.futures.CancelledError)


class Failure(Exception):
    """There is no cluster to work with; the message is for the user."""


def parse(line):
    """The order in a line, and its words as pairs."""
    order, *words = line.rstrip(b"\n").split(b" ")
    pairs = [unquote_to_bytes(word).partition(b"=") for word in words]
    return order.decode(), [(name.decode(), value) for name, _, value in pairs]


def line(words):
    """An answer. (A path in it may have bytes that are no text.)"""
    return words.replace("\n", " ").encode(errors="backslashreplace") + b"\n"


def load_holder(source):
    """The module with what runs on the cluster. Objects of `__main__` are sent there with their code."""
    module = types.ModuleType("__main__")
    exec(compile(source, "holder.py", "exec"), module.__dict__)
    return module


def load_dask():
    """Imports `distributed`, which need not be there."""
    try:
        import distributed
    except ImportError as error:
        raise Failure(
            f"{sys.executable} cannot import Dask's `distributed` ({error}): install it there, in the version of the cluster"
            " (`python3 -m pip install distributed`), or name another interpreter with `.python(path)`"
        ) from None
    version = distributed.__version__
    if tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) < OLDEST:
        raise Failure(
            f"{sys.executable} has `distributed` {version}, which is too old: 2024.1 is the oldest that will do, in the"
            " cluster too (`python3 -m pip install --upgrade distributed`)"
        )
    return distributed


def find_scheduler(options, configured):
    """The scheduler's address."""
    if (file := options.get("file")) is not None:
        try:
            with open(file) as opened:
                return json.load(opened)["address"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Failure(f"{os.fsdecode(file)} is not a Dask scheduler file: {error}") from None
    if (address := options.get("scheduler")) is not None:
        return address.decode()
    if configured is None:
        raise Failure("no scheduler is named: set DASK_SCHEDULER_ADDRESS, or `scheduler-address` in Dask's configuration")
    return configured


def is_private(address):
    """Whether everything sent to `address` stays on this machine, or is encrypted."""
    scheme, _, rest = address.rpartition("://")
    if scheme in ("tls", "wss", "inproc"):
        return True
    host = rest.split("/")[0].rpartition(":")[0].strip("[]")
    try:
        found = {one[4][0] for one in socket.getaddrinfo(host or rest, None)}
    except OSError as error:
        # (The name may resolve a moment later, and then to any machine.)
        raise Failure(f"Dask's scheduler at {address} cannot be reached: {error}") from None
    return all(is_loopback(one) for one in found)


def is_loopback(host):
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def own_address(hosts):
    """The address of this machine from which the cluster is reached: another machine of it, if there is one."""
    ways, errors = [], []
    for host in hosts:
        try:
            ways.append(way_to(host))
        except OSError as error:
            errors.append(f"{host}: {error}")
        else:
            if not is_loopback(ways[-1]):
                return ways[-1]
    if not ways:
        raise Failure(f"this machine finds no way to the cluster ({'; '.join(errors)}): name its own address with `.listen`")
    return ways[0]


def way_to(host):
    """The address of this machine from which a host is reached."""
    family, kind, _, _, address = socket.getaddrinfo(host, 9, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind) as probe:
        probe.connect(address)  # nothing is sent
        return probe.getsockname()[0]


def why(address, error):
    """A message that says why a connection to the scheduler has failed."""
    from distributed.comm import CommClosedError

    last, causes = error, []
    while error is not None:
        causes.append(error)
        error = error.__cause__ or error.__context__
    # (Whether the alert of the other end is read, or only the end of the connection, is a matter of time.)
    alerts = any(isinstance(one, ssl.SSLError) and "ALERT" in str(one.reason) for one in causes)
    is_closed = isinstance(last, (ConnectionError, CommClosedError))
    keys = (
        "`ca-file`, `client.cert` and `client.key` under `distributed.comm.tls` (or"
        " DASK_DISTRIBUTED__COMM__TLS__CA_FILE, DASK_DISTRIBUTED__COMM__TLS__CLIENT__CERT and ..._KEY)"
    )
    words = ""
    if any(isinstance(one, ssl.SSLCertVerificationError) for one in causes):
        words = (
            "its certificate is not signed by the authority that Dask's configuration names here as"
            " `distributed.comm.tls.ca-file`"
        )
    elif address.startswith("tls:"):
        if alerts or is_closed:
            words = (
                "it has closed the connection, as it does if the certificate of this process"
                " (`distributed.comm.tls.client.cert` of Dask's configuration) is not signed by the authority that it"
                " trusts, or if it does not speak TLS"
            )
        elif isinstance(last, FileNotFoundError):
            words = f"a file that Dask's configuration names for TLS is missing: look at {keys}"
        elif isinstance(last, TypeError):
            words = f"Dask's configuration names no certificate for this process: set {keys}"
        elif isinstance(last, ValueError):
            words = "what is there does not speak TLS"
    elif is_closed:
        words = "it has closed the connection, as a scheduler with TLS does (its address begins with `tls://`)"
    return f"{words} ({type(last).__name__}: {last})" if words else f"{type(last).__name__}: {last}"


class Placer:
    def __init__(self, holder, say):
        self.holder = holder
        self.say = say
        self.needs = {}
        self.tasks = {}
        self.sent = {}
        self.sending = asyncio.Semaphore(AT_ONCE)
        self.watching = None

    async def connect(self, pairs):
        distributed = load_dask()
        import dask

        # (Dask would look for the source of the code that submits a task, each time.)
        dask.config.set({"distributed.diagnostics.computations.nframes": 0})
        options = dict(pairs)
        for name, _, amount in (value.decode().rpartition("=") for name, value in pairs if name == "resource"):
            self.needs[name] = float(amount)
        self.address = address = find_scheduler(options, dask.config.get("scheduler-address", None))
        if "plaintext" not in options and not is_private(address):
            raise Failure(
                f"{address} is another machine, and this connection would neither be encrypted nor prove which machine"
                " answers: use Dask with TLS (`tls://`), or allow it by name with `.allow_plaintext(true)`"
            )
        try:
            self.client = await distributed.Client(address, asynchronous=True, set_as_default=False, timeout=TIMEOUT)
        except Exception as error:
            raise Failure(f"Dask's scheduler at {address} cannot be reached: {why(address, error)}") from None
        places, hosts = await self.client.run_on_scheduler(self.holder.survey, self.needs)
        scheduler = distributed.comm.get_address_host(self.client.scheduler.address)
        self.say(f"ready {places} {own_address([*hosts, scheduler])}")
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)

    async def prepare(self, pairs):
        """What all workers of the pool have in common."""
        options = dict(pairs)
        self.name = options["name"].decode()
        self.retries = int(options["retries"])
        self.options = {"pure": False, "priority": int(options["priority"]), "resources": self.needs or None}

        def variables(kind):
            each = [value.partition(b"=") for name, value in pairs if name == kind]
            return {name: value for name, _, value in each}

        invitation, _, value = options["invitation"].partition(b"=")
        with open(options["exe"], "rb") as file:
            self.program = file.read()
        holder = self.holder.Holder(
            digest=hashlib.sha256(self.program).hexdigest(),
            key=options["key"],
            invitation=(invitation, value),
            arguments=[value for name, value in pairs if name == "argument"],
            defaults=variables("default"),
            variables=variables("variable"),
        )
        watch = self.holder.Watch(self.name, self.client.id)
        await self.client.register_plugin(watch, name=watch.name)
        # (The scheduler gives it to each Dask worker. One that does not answer gets it later, and one that is lost
        # needs none: neither is waited for.)
        self.registering = asyncio.ensure_future(self.client.register_plugin(holder, name=self.name))
        done, _ = await asyncio.wait({self.registering}, timeout=TIMEOUT)
        error = next((one.exception() for one in done), None)
        if error is not None and not isinstance(error, OSError):
            raise error

    async def place(self, number):
        words = "Dask has cancelled its task"
        try:
            await self.hold(number)
            words = "its process has ended"
        except CANCELLED:
            pass
        except Exception as error:
            words = str(error) or type(error).__name__
        if self.tasks.pop(number, None) is not None:
            self.say(f"ended {number} {words}")

    async def hold(self, number):
        """Runs Dask tasks for this worker, until one has held it to its end."""
        for round in range(ROUNDS):
            key = f"{self.name}-{number}-{round}"
            future = self.client.submit(self.holder.hold, self.name, number, key=key, retries=self.retries, **self.options)
            try:
                lacking = await future
            finally:
                future.release()  # if nobody waits for it, Dask ends it
            if lacking is None:
                return
            await self.supply(lacking)
        raise RuntimeError(f"the program was sent to {ROUNDS} Dask workers, and arrived at none")

    async def supply(self, worker):
        """Sends the program to one Dask worker; once, although several tasks may find that it is lacking."""
        if worker not in self.sent:
            self.sent[worker] = asyncio.ensure_future(self.send(worker))
        error = await asyncio.shield(self.sent[worker])
        if isinstance(error, RuntimeError):
            raise RuntimeError(f"Dask's worker at {worker} cannot keep the program: {error}")

    async def send(self, worker):
        """Sends it; returns the error of that worker, if there is one."""
        async with self.sending:
            run = self.client.run(self.holder.put, self.name, self.program, workers=[worker], on_error="return")
            run = asyncio.ensure_future(run)
            done, _ = await asyncio.wait({run}, timeout=TRANSFER)
        del self.sent[worker]
        if done:
            return run.result().get(worker)
        run.cancel()
        return None  # it may be lost: the task is submitted again

    async def watch(self):
        while self.client.status == "running":
            await asyncio.sleep(LOOK)
        self.fail(f"the connection to Dask's scheduler at {self.address} is lost: it has ended, or cannot be reached")

    def fail(self, words):
        self.say(f"error {words}")
        os._exit(1)

    async def serve(self, lines):
        while line := await lines.readline():
            order, pairs = parse(line)
            if order == "connect":
                await self.connect(pairs)
            elif order == "hold":
                await self.prepare(pairs)
                self.watching = asyncio.ensure_future(self.watch())
            elif order == "place":
                number = int(pairs[0][0])
                self.tasks[number] = asyncio.ensure_future(self.place(number))
            elif (task := self.tasks.pop(int(pairs[0][0]), None)) is not None:
                task.cancel()
        os._exit(0)


async def main(source):
    # What anything else prints must not get between the answers.
    answers = os.dup(1)
    os.dup2(2, 1)

    def say(words):
        os.write(answers, line(words))

    warnings.simplefilter("ignore")
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    lines = asyncio.StreamReader(limit=1 << 24)
    reads = asyncio.StreamReaderProtocol(lines)
    await asyncio.get_running_loop().connect_read_pipe(lambda: reads, sys.stdin)
    try:
        load_dask()
        placer = Placer(load_holder(source), say)
        await placer.serve(lines)
    except BrokenPipeError:
        os._exit(1)
    except Exception as error:
        words = str(error) if isinstance(error, Failure) else f"{type(error).__name__}: {error}"
        say(f"error {words}")
        os._exit(1)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
