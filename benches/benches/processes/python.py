"""A Python peer of the processes benchmark: python.rs speaks to it, line by line.

    python3 python.py POOL        POOL: pool-fork, ppe-fork, ppe-spawn, loky

Each line is an operation and a number; the answer is one line of nanoseconds.
"""

import os
import signal
import sys
import threading
import time

WORKERS = 2


def add_one(n):
    return n + 1


def echo(block):
    return block


def die_at_three(n):
    if n == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.01)
    return n


def is_prime(n):
    if n < 2:
        return False
    i = 2
    while i * i <= n:
        if n % i == 0:
            return False
        i += 1
    return True


def primes(bounds):
    return sum(1 for n in range(*bounds) if is_prime(n))


class Pool:
    """multiprocessing.Pool"""

    def __init__(self):
        import multiprocessing

        self.pool = multiprocessing.get_context("fork").Pool(WORKERS)

    def submit(self, f, arg):
        return self.pool.apply_async(f, (arg,))

    def get(self, result, timeout=None):
        return result.get(timeout)

    def map(self, f, items):
        return self.pool.map(f, items)

    def close(self):
        # As its manual says; a pool with a lost call never ends by join.
        self.pool.terminate()
        self.pool.join()


class Executor:
    """ProcessPoolExecutor, loky"""

    def __init__(self, kind):
        if kind == "loky":
            from joblib.externals.loky import ProcessPoolExecutor

            self.pool = ProcessPoolExecutor(WORKERS)
        else:
            import multiprocessing
            from concurrent.futures import ProcessPoolExecutor

            context = multiprocessing.get_context(kind.removeprefix("ppe-"))
            self.pool = ProcessPoolExecutor(WORKERS, mp_context=context)

    def submit(self, f, arg):
        return self.pool.submit(f, arg)

    def get(self, result, timeout=None):
        return result.result(timeout)

    def map(self, f, items):
        return list(self.pool.map(f, items, chunksize=12500))

    def close(self):
        self.pool.shutdown(wait=True)


def new(kind):
    return Pool() if kind == "pool-fork" else Executor(kind)


def timed(f):
    start = time.perf_counter_ns()
    f()
    return time.perf_counter_ns() - start


class Peer:
    def __init__(self, kind):
        self.kind = kind
        self.made = None

    @property
    def pool(self):
        if self.made is None:
            self.made = new(self.kind)
            self.call(0)
        return self.made

    def call(self, n):
        assert self.pool.get(self.pool.submit(add_one, n)) == n + 1

    def start(self, count):
        def first_answer():
            pool = new(self.kind)
            assert pool.get(pool.submit(add_one, 1)) == 2
            return pool

        samples = []
        for _ in range(count):
            start = time.perf_counter_ns()
            pool = first_answer()
            samples.append(time.perf_counter_ns() - start)
            pool.close()
        return samples

    def pauses(self, count):
        samples = []
        self.pool
        for n in range(count):
            time.sleep(0.0005)
            samples.append(timed(lambda: self.call(n)))
        return samples

    def calls(self, count):
        self.pool

        def all():
            for n in range(count):
                self.call(n)

        return [timed(all) / count]

    def separate(self, count):
        pool = self.pool

        def all():
            results = [pool.submit(add_one, n) for n in range(count)]
            for result in results:
                pool.get(result)

        return [timed(all) / count]

    def map(self, count):
        pool = self.pool
        return [timed(lambda: pool.map(add_one, range(count))) / count]

    def bulk(self, size):
        pool = self.pool
        block = bytes(size)
        count = max(1, (8 << 20) // size)

        def all():
            for _ in range(count):
                pool.get(pool.submit(echo, block))

        return [timed(all) / count]

    def compute(self, count):
        pool = self.pool
        step = max(1, count // 64)
        ranges = [(n, n + step) for n in range(0, count, step)]
        alone = timed(lambda: [primes(r) for r in ranges])

        def together():
            results = [pool.submit(primes, r) for r in ranges]
            for result in results:
                pool.get(result)

        return [timed(together) / alone]

    def eight(self, _):
        pool = new(self.kind)
        pool.get(pool.submit(add_one, 1))
        results = [pool.submit(die_at_three, n) for n in range(8)]
        bad = 0
        for n, result in enumerate(results):
            try:
                pool.get(result, 2)
                good = True
            except TimeoutError:
                good = False
            except Exception as error:
                good = n == 3 and type(error).__name__ != "TimeoutError"
            bad += not good
        try:
            pool.close()
        except Exception:
            pass
        return [bad]


def main():
    kind = sys.argv[1]
    if kind == "loky":
        try:
            import joblib  # noqa: F401
        except ImportError:
            print("missing", flush=True)
            return
    print("here", flush=True)
    peer = Peer(kind)
    for line in sys.stdin:
        operation, number = line.split()
        samples = getattr(peer, operation)(int(number))
        print(*samples, flush=True)
    # Whatever a pool does at its end is not asked here.
    sys.stdout.close()
    if peer.made is not None:
        closer = threading.Thread(target=peer.made.close, daemon=True)
        closer.start()
        closer.join(5)
    os._exit(0)


if __name__ == "__main__":
    main()
