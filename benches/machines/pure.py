"""Dask without trefoil, measured: `pure.py SCHEDULER_FILE`. The figures of `main.rs`, by the same names; then joblib's, where it is."""

import sys
import time

from distributed import Client


def same(value):
    return value


def wait(millis):
    time.sleep(millis / 1000)


def say(what, value, unit):
    print(f"{what}: {value:.1f} {unit}", flush=True)


def rate(count, once):
    best = 0
    for _ in range(3):
        begin = time.perf_counter()
        once()
        best = max(best, count / (time.perf_counter() - begin))
    return best


def main():
    client = Client(scheduler_file=sys.argv[1])
    client.gather(client.map(same, range(100), pure=False))
    trips = []
    for number in range(100):
        begin = time.perf_counter()
        client.submit(same, number, pure=False).result()
        trips.append(time.perf_counter() - begin)
    say("round trip", sorted(trips)[50] * 1e6, "us")
    say("chunks", rate(3000, lambda: client.gather(client.map(same, range(3000), pure=False))), "/s")
    for millis, count in ((1, 3000), (100, 60)):
        items = rate(count, lambda: client.gather(client.map(wait, [millis] * count, pure=False)))
        say(f"items of {millis} ms", items, "/s")
    data = [bytes([7]) * (1 << 20)] * 32

    def bulk():
        client.gather([client.submit(same, client.scatter(one, hash=False), pure=False) for one in data])

    say("1 MiB there and back", rate(32, bulk), "MiB/s")
    try:
        import joblib
    except ImportError:
        print("(joblib is not installed)")
        return
    with joblib.parallel_config(backend="dask"):
        pool = joblib.Parallel()
        pool(joblib.delayed(same)(number) for number in range(100))
        tiny = rate(20000, lambda: pool(joblib.delayed(same)(number) for number in range(20000)))
        say("joblib, items of nothing", tiny, "/s")
        for millis, count in ((1, 3000), (100, 60)):
            items = rate(count, lambda: pool(joblib.delayed(wait)(millis) for _ in range(count)))
            say(f"joblib, items of {millis} ms", items, "/s")


if __name__ == "__main__":
    main()
