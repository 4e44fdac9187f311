"""Tests of `src/dask/holder.py`: `python test_holder.py`, with `distributed`."""

import contextlib
import hashlib
import os
import sys
import tempfile
import threading
import types
import unittest
from unittest import mock

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../src/dask"))

import holder

SHELL = os.path.realpath("/bin/sh")
PROGRAM = open(SHELL, "rb").read()


@contextlib.contextmanager
def holding(script, **changes):
    """A holder on a Dask worker that is a stand-in. Its program is the shell, which runs this script."""
    settings = {
        "digest": hashlib.sha256(PROGRAM).hexdigest(),
        "key": b"the key",
        "invitation": (b"INVITATION", b"number "),
        "arguments": [b"sh", b"-c", script.encode()],
        "defaults": {b"SONG": b"", b"PATH": b"default", b"NEW": b"default"},
        "variables": {b"SONG": b"a\xffb"},
        **changes,
    }
    with tempfile.TemporaryDirectory() as directory:
        one = holder.Holder(**settings)
        one.setup(types.SimpleNamespace(local_directory=directory, address="tcp://worker:1"))
        try:
            yield one
        finally:
            one.teardown(one.worker)


class TestHolder(unittest.TestCase):
    def test_a_worker_gets_what_it_needs(self):
        script = (
            'read -r key; [ "$key" = "the key" ] && [ "$INVITATION" = "number 7" ] && [ ${#SONG} -ge 3 ] '
            '&& [ "$PATH" != default ] && [ "$NEW" = default ] && exit 0; exit 1'
        )
        with holding(script) as one:
            self.assertEqual(one.hold(7), "tcp://worker:1", "it lacks the program")
            one.put(PROGRAM)
            one.put(PROGRAM)
            self.assertIsNone(one.hold(7))
            self.assertEqual(one.processes, set())
            with self.assertRaises(RuntimeError):
                one.hold(8)

    def test_only_the_program_is_kept(self):
        with holding("") as one:
            with self.assertRaisesRegex(RuntimeError, "whole"):
                one.put(PROGRAM[:-1] + b"x")
            self.assertIsNone(one.program)

    def test_nobody_else_can_write_to_it(self):
        with holding("") as one:
            one.put(PROGRAM)
            there = os.fstat(one.program)
            self.assertEqual((there.st_nlink, there.st_mode & 0o777, there.st_uid), (0, 0o700, os.getuid()))
            self.assertEqual(os.listdir(one.worker.local_directory), [])
            with self.assertRaises(OSError):
                os.write(one.program, b"x")

    def test_where_nothing_may_be_executed_it_is_in_memory(self):
        refuses = types.SimpleNamespace(f_flag=os.ST_NOEXEC)
        with holding("exit 0") as one, mock.patch("os.statvfs", return_value=refuses):
            one.put(PROGRAM)
            self.assertIn("memfd:", os.readlink(f"/proc/self/fd/{one.program}"))
            self.assertIsNone(one.hold(1))

    def test_a_failure_has_the_last_words(self):
        with holding("echo first >&2; echo last >&2; exit 3") as one:
            one.put(PROGRAM)
            with self.assertRaisesRegex(RuntimeError, "^last$"):
                one.hold(1)
        with holding("kill -9 $$") as one:
            one.put(PROGRAM)
            with self.assertRaisesRegex(RuntimeError, "-9"):
                one.hold(1)
        with holding("", arguments=[b"sh", b"/nowhere"]) as one:
            one.put(PROGRAM)
            with self.assertRaisesRegex(RuntimeError, "nowhere"):
                one.hold(1)

    def test_another_machine_is_refused(self):
        with holding("") as one:
            one.machine = "linux abacus"
            with self.assertRaisesRegex(RuntimeError, "for linux abacus"):
                one.hold(1)

    def test_the_end_of_dasks_worker_ends_all(self):
        with holding("read -r key; echo up >&2; read -r more") as one:
            one.put(PROGRAM)
            came, ended = threading.Event(), []

            def hear(descriptor, words, write=os.write):
                came.set()
                return write(descriptor, words)

            with mock.patch("os.write", hear):
                thread = threading.Thread(target=lambda: ended.append(self.assertRaises(RuntimeError, one.hold, 1)))
                thread.start()
                self.assertTrue(came.wait(60))
                one.teardown(one.worker)
                thread.join(60)
            self.assertFalse(thread.is_alive())
            with self.assertRaisesRegex(RuntimeError, "ended"):
                one.hold(2)
            one.program = None  # which has been closed


if __name__ == "__main__":
    unittest.main()
