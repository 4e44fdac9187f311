"""Dask without trefoil: `pure.py SCHEDULER_FILE WORKERS dask|joblib`, a contender of `table.rs`."""

import os
import signal
import sys
import tempfile
import time

MIB = 1 << 20


def same(value):
    return value


def one_microsecond(number):
    end = time.perf_counter_ns() + 1000
    while time.perf_counter_ns() < end:
        pass
    return number


def one_millisecond(number):
    time.sleep(0.001)
    return number


def hundred_milliseconds(number):
    time.sleep(0.1)
    return number


def die_once(mark):
    try:
        open(mark, "x").close()
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def each(batch, function):
    # As an array: Dask sends a list element by element, which takes a hundred times as long.
    return numpy.array([function(item) for item in batch])


class Dask:
    tiny = 300_000

    def __init__(self, client):
        self.client = client

    def call(self, function, arg):
        return self.client.submit(function, arg, pure=False).result()

    def singly(self, function, items):
        return self.client.gather(self.client.map(function, items, pure=False))

    def batches(self, function, count):
        # Four for each of the six threads.
        size = -(-count // 24)
        batches = [range(start, min(start + size, count)) for start in range(0, count, size)]
        results = self.client.gather(self.client.map(each, batches, function=function, pure=False))
        return numpy.concatenate(results).tolist()

    def bulk(self, data):
        return self.singly(same, self.client.scatter(data, hash=False))


class Joblib:
    tiny = 20_000

    def __init__(self, _):
        joblib.parallel_config(backend="dask")

    def call(self, function, arg):
        return self.singly(function, [arg])[0]

    def singly(self, function, items):
        parallel = joblib.Parallel(batch_size=1, pre_dispatch="all")
        return parallel(joblib.delayed(function)(item) for item in items)

    def batches(self, function, count):
        # It cuts them by measured time, for which few may be under way.
        return joblib.Parallel()(joblib.delayed(function)(number) for number in range(count))

    def bulk(self, data):
        return self.singly(same, data)


def seconds(once):
    begin = time.perf_counter()
    once()
    return time.perf_counter() - begin


def figure(row, way):
    match row:
        case "trip":
            return sorted(seconds(lambda: way.call(same, 7)) for _ in range(30))[15]
        case "chunks":
            return 3000 / seconds(lambda: way.singly(same, range(3000)))
        case "nothing":
            return way.tiny / seconds(lambda: way.batches(same, way.tiny))
        case "1us":
            return way.tiny / seconds(lambda: way.batches(one_microsecond, way.tiny))
        case "1ms":
            return 3000 / seconds(lambda: way.batches(one_millisecond, 3000))
        case "100ms":
            return 60 / seconds(lambda: way.singly(hundred_milliseconds, range(60)))
        case "bulk":
            data = [numpy.full(MIB, 7, numpy.uint8) for _ in range(32)]
            return 32 / seconds(lambda: way.bulk(data))
        case "killed":
            with tempfile.TemporaryDirectory() as directory:
                mark = os.path.join(directory, "mark")
                return seconds(lambda: (way.call(die_once, mark), way.batches(same, 1000)))


def main():
    client, workers = Client(scheduler_file=sys.argv[1]), int(sys.argv[2])
    way = {"dask": Dask, "joblib": Joblib}[sys.argv[3]](client)
    print("here", flush=True)
    for row in sys.stdin:
        client.wait_for_workers(workers)
        way.batches(same, 1000)
        print(figure(row.strip(), way), flush=True)


if __name__ == "__main__":
    try:
        import joblib
        import numpy
        from distributed import Client
    except ImportError as error:
        print(error, flush=True)
    else:
        main()
