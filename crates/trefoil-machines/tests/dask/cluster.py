"""A Dask cluster on this machine, for tests: `cluster.py DIRECTORY WORKERS [ARGUMENT OF A WORKER...]`.

It says `ready` and the scheduler's process id. For each line `worker` of its standard input it starts one more, for
`tasks` it says how many tasks the scheduler knows and what is special about the last one, and it ends everything when
that closes. With TREFOIL_TEST_NAMESPACE every second worker is in that network namespace, whose address is 10.215.0.2,
and everything else at 10.215.0.1.
"""

import os
import shutil
import signal
import subprocess
import sys

from distributed import Client

directory, count = sys.argv[1], int(sys.argv[2])
file = os.path.join(directory, "scheduler.json")
log = open(os.path.join(directory, "log"), "w")
# Keys and certificates are in Dask's configuration, if there are any.
protocol = "tls" if "DASK_DISTRIBUTED__COMM__TLS__CA_FILE" in os.environ else "tcp"


apart = os.environ.get("TREFOIL_TEST_NAMESPACE")


def start(what, *arguments, before=()):
    command = [
        *before,
        sys.executable,
        "-m",
        f"distributed.cli.dask_{what}",
        "--scheduler-file",
        file,
        "--protocol",
        protocol,
    ]
    return subprocess.Popen([*command, *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=directory)


def worker(number):
    host = f"10.215.0.{number % 2 + 1}" if apart else f"127.0.1.{number + 1}"
    return start(
        *["worker", "--host", host, "--nthreads", "2", "--no-nanny", "--no-dashboard"],
        *["--memory-limit", "0", "--local-directory", os.path.join(directory, f"w{number}"), *sys.argv[3:]],
        before=["ip", "netns", "exec", apart] if apart and number % 2 else [],
    )


def tasks(dask_scheduler=None):
    known = list(dask_scheduler.tasks.values())
    words = [str(len(known))]
    for last in known[-1:]:
        words.append(f"{last.key} priority {-last.priority[0]} retries {last.retries} {last.resource_restrictions}")
    return " ".join(words)


# A signal that ends this process leaves none of them behind either.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
processes = [start("scheduler", "--host", "10.215.0.1" if apart else "127.0.0.1", "--port", "0", "--no-dashboard")]
processes += [worker(number) for number in range(count)]
try:
    with Client(scheduler_file=file, timeout=60) as client:
        client.wait_for_workers(count, timeout=60)
        print("ready", processes[0].pid, flush=True)
        for line in sys.stdin:
            if line == "tasks\n":
                print(client.run_on_scheduler(tasks), flush=True)
            else:
                processes.append(worker(len(processes) - 1))
finally:
    for process in processes:
        process.send_signal(signal.SIGKILL)
        process.wait()
    shutil.rmtree(directory, ignore_errors=True)
