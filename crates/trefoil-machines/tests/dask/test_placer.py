"""Tests of `src/dask/placer.py`: `python test_placer.py`, with `distributed`."""

import asyncio
import contextlib
import json
import os
import sys
import tempfile
import types
import unittest
from unittest import mock

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../src/dask"))

import placer
from placer import Failure


class TestWords(unittest.TestCase):
    def test_an_order_is_read(self):
        order, pairs = placer.parse(b"hold argument= argument=a%20b%0a%ff variable=A=b%3d=c\n")
        self.assertEqual(order, "hold")
        self.assertEqual(pairs, [("argument", b""), ("argument", b"a b\n\xff"), ("variable", b"A=b==c")])
        self.assertEqual(placer.parse(b"place 17\n"), ("place", [("17", b"")]))

    def test_a_scheduler_is_found(self):
        self.assertEqual(placer.find_scheduler({"scheduler": b"tcp://a:1"}, "tcp://b:2"), "tcp://a:1")
        self.assertEqual(placer.find_scheduler({}, "tcp://b:2"), "tcp://b:2")
        with self.assertRaisesRegex(Failure, "DASK_SCHEDULER_ADDRESS"):
            placer.find_scheduler({}, None)
        with tempfile.NamedTemporaryFile("w") as file:
            for text in ["", "[]", "{}", "nothing"]:
                file.seek(0)
                file.truncate()
                file.write(text)
                file.flush()
                with self.assertRaisesRegex(Failure, "not a Dask scheduler file"):
                    placer.find_scheduler({"file": file.name.encode()}, None)
            file.seek(0)
            file.truncate()
            json.dump({"address": "tls://c:3"}, file)
            file.flush()
            self.assertEqual(placer.find_scheduler({"file": file.name.encode()}, None), "tls://c:3")

    def test_what_stays_here_or_is_encrypted_is_private(self):
        for address in ["tcp://127.0.0.1:8786", "tcp://[::1]:8786", "127.0.0.1:8786", "localhost:1", "tls://192.0.2.1:8786"]:
            self.assertTrue(placer.is_private(address), address)
        for address in ["tcp://192.0.2.1:8786", "192.0.2.1:8786", "ws://192.0.2.1:80/path", "tcp://[2001:db8::1]:8786"]:
            self.assertFalse(placer.is_private(address), address)
        with self.assertRaisesRegex(Failure, "cannot be reached"):
            placer.is_private("tcp://no such host:1")

    def test_an_address_for_the_cluster(self):
        self.assertEqual(placer.own_address(["127.0.0.1"]), "127.0.0.1")
        self.assertEqual(placer.own_address(["::1"]), "::1")
        # A name that means this machine, as that of every Debian does, and one that nobody knows.
        ways = {"localhost": "127.0.0.1", "here": "127.0.1.1", "node1": "10.1.2.3", "node2": "10.1.2.3"}

        def way_to(host):
            if host not in ways:
                raise OSError("unknown")
            return ways[host]

        with mock.patch("placer.way_to", way_to):
            self.assertEqual(placer.own_address(["here", "nobody", "node1", "localhost"]), "10.1.2.3")
            self.assertEqual(placer.own_address(["nobody", "localhost"]), "127.0.0.1")
            with self.assertRaisesRegex(Failure, "nobody: unknown.*listen"):
                placer.own_address(["nobody"])

    def test_an_answer_is_one_line_of_text(self):
        path = os.fsdecode(b"/tmp/a\xff")
        self.assertEqual(placer.line(f"error {path}\nx"), b"error /tmp/a\\udcff x\n")


class Client:
    """A cluster whose tasks and workers are these functions."""

    status = "running"

    def __init__(self, task, put):
        self.task = task
        self.put = put
        self.options = []

    def submit(self, function, name, number, **options):
        self.options.append(options)
        future = asyncio.ensure_future(self.task(number))
        future.release = future.cancel
        return future

    async def run(self, function, name, data, workers, on_error):
        return {workers[0]: await self.put(workers[0])}


async def placing(task, put, orders):
    """What is answered to these orders."""
    said = []
    one = placer.Placer(types.SimpleNamespace(hold=None, put=None), said.append)
    one.client, one.name, one.retries, one.options = Client(task, put), "pool", 2, {"priority": 3}
    one.program = b""
    lines = asyncio.StreamReader()
    with mock.patch("os._exit", side_effect=ConnectionAbortedError):
        serving = asyncio.ensure_future(one.serve(lines))
        for order in orders:
            lines.feed_data(order + b"\n")
            for _ in range(100):
                await asyncio.sleep(0)
        lines.feed_eof()
        with contextlib.suppress(ConnectionAbortedError):
            await serving
    return list(said), one.client.options, list(one.tasks)


class TestPlacer(unittest.TestCase):
    def run_orders(self, task, put, *orders):
        return asyncio.run(asyncio.wait_for(placing(task, put, orders), 60))

    def test_a_worker_is_placed_where_the_program_is(self):
        has, sent = set(), []

        async def task(number):
            await asyncio.sleep(0)
            return None if "one" in has else "one"

        async def put(worker):
            sent.append(worker)
            await asyncio.sleep(0)
            has.add(worker)

        said, options, left = self.run_orders(task, put, b"place 1", b"place 2")
        self.assertEqual(said, ["ended 1 its process has ended", "ended 2 its process has ended"])
        self.assertEqual(sent, ["one"])
        self.assertEqual([one["key"] for one in options], ["pool-1-0", "pool-1-1", "pool-2-0"])
        self.assertEqual({(one["retries"], one["priority"]) for one in options}, {(2, 3)})
        self.assertEqual(left, [])

    def test_a_failure_has_words(self):
        async def task(number):
            raise [RuntimeError("out\nof luck"), ValueError(), asyncio.CancelledError()][number]

        said, _, _ = self.run_orders(task, None, b"place 0", b"place 1", b"place 2")
        self.assertEqual(said, ["ended 0 out\nof luck", "ended 1 ValueError", "ended 2 Dask has cancelled its task"])

        async def lacks(number):
            return "one"

        async def refuses(worker):
            return RuntimeError("no space")

        said, _, _ = self.run_orders(lacks, refuses, b"place 0")
        self.assertEqual(said, ["ended 0 Dask's worker at one cannot keep the program: no space"])

    def test_a_worker_that_is_gone_is_not_asked_for_ever(self):
        async def lacks(number):
            return "one"

        async def gone(worker):
            return ConnectionError("gone")

        with mock.patch("placer.ROUNDS", 3):
            said, options, _ = self.run_orders(lacks, gone, b"place 0")
        self.assertEqual(len(options), 3)
        self.assertIn("arrived at none", said[0])

    def test_only_some_transfers_are_under_way_at_once_and_none_for_ever(self):
        now, most, has = set(), [], set()

        async def put(worker):
            now.add(worker)
            most.append(len(now))
            if worker == "silent":
                await asyncio.sleep(1000)
            await asyncio.sleep(0.01)
            now.remove(worker)
            has.add(worker)

        async def supplies():
            one = placer.Placer(types.SimpleNamespace(put=None), print)
            one.client, one.name, one.program = Client(None, put), "pool", b""
            workers = ["silent", *map(str, range(20)), "7"]
            await asyncio.gather(*(one.supply(worker) for worker in workers))
            return one.sent

        with mock.patch("placer.TRANSFER", 0.2):
            left = asyncio.run(asyncio.wait_for(supplies(), 60))
        self.assertEqual((max(most), len(most), len(has), left), (placer.AT_ONCE, 21, 20, {}))

    def test_a_worker_of_dasks_that_does_not_answer_is_not_waited_for(self):
        class Silent:
            id = "client"
            plugins = []

            async def register_plugin(self, plugin, name):
                self.plugins.append(name)
                if name == "pool":
                    await asyncio.sleep(1000)

        async def prepares():
            holder = types.SimpleNamespace(
                Holder=lambda **_: None, Watch=lambda name, _: types.SimpleNamespace(name=f"{name}-watch")
            )
            one = placer.Placer(holder, print)
            one.client = Silent()
            pairs = {"name": b"pool", "retries": b"2", "priority": b"0", "invitation": b"A=b", "exe": b"/bin/sh", "key": b""}
            await one.prepare(list(pairs.items()))
            return one

        with mock.patch("placer.TIMEOUT", 0.1):
            one = asyncio.run(asyncio.wait_for(prepares(), 60))
        self.assertEqual(one.client.plugins, ["pool-watch", "pool"])

    def test_what_is_cancelled_is_ended_and_not_reported(self):
        ended = []

        async def task(number):
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                ended.append(number)
                raise

        said, _, left = self.run_orders(task, None, b"place 1", b"place 2", b"cancel 1", b"cancel 1", b"cancel 9")
        self.assertEqual((said, ended[0], left), ([], 1, [2]))


if __name__ == "__main__":
    unittest.main()
