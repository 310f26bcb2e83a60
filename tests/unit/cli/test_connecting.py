"""The first contact: nothing listens, or what listens is no Flo node."""

import json
import socket
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager

import pytest
from click.testing import CliRunner, Result

from bench.local_cluster import free_ports
from flo.cli import connecting, main
from tests.unit.cli.conftest import Run
from tests.unit.client.fake_node import FakeCluster


def _flo(host: str, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["--host", host, *arguments, "kv", "get", "key"])


@contextmanager
def listening(answer: Callable[[socket.socket], None]) -> Generator[str]:
    """Something that is no Flo node; every connection is given to `answer`."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    answer(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{server.getsockname()[1]}"
        finally:
            # Closing alone would not wake the thread.
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def _speak_http(connection: socket.socket) -> None:
    connection.recv(1024)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


def _be_silent(connection: socket.socket) -> None:
    while connection.recv(1024):
        pass


def _hang_up(_connection: socket.socket) -> None:
    return


def test_nothing_listens_here() -> None:
    (port,) = free_ports(1)
    failed = _flo(f"127.0.0.1:{port}")
    assert (failed.exit_code, failed.stdout) == (3, "")
    assert f"127.0.0.1:{port} (Connection refused)" in failed.stderr
    assert "`flo up`" in failed.stderr
    assert len(failed.stderr.splitlines()) == 1
    error = json.loads(_flo(f"127.0.0.1:{port}", "--format", "json").stderr)["error"]
    assert (error["code"], error["outcome"], error["retryable"]) == (
        "CONNECTION_FAILED",
        "not_applied",
        True,
    )


def test_flo_up_is_no_advice_for_another_machine() -> None:
    assert "flo up" not in _flo("no-such-host.invalid:9000").stderr


def test_what_hangs_up_is_given_up() -> None:
    with listening(_hang_up) as address:
        failed = _flo(address)
    assert failed.exit_code == 3
    assert f"the connection to {address} ended" in failed.stderr
    assert "`flo up`" not in failed.stderr


def test_what_answers_something_else_is_told_from_a_node() -> None:
    with listening(_speak_http) as address:
        failed = _flo(address)
    assert failed.exit_code == 3
    assert f"{address} does not answer as a Flo node" in failed.stderr
    assert "no answer within" not in failed.stderr
    assert "`flo up`" not in failed.stderr


def test_silence_is_no_node_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connecting, "FIRST_ANSWER_MS", 50)
    with listening(_be_silent) as address:
        failed = _flo(address)
    assert failed.exit_code == 3
    assert f"{address} does not answer as a Flo node: no answer within 0.05 s" in failed.stderr


def test_another_address_is_used_instead(run: Run, cluster: FakeCluster) -> None:
    run("kv", "set", "key", "value")
    with listening(_hang_up) as address:
        found = _flo(f"{address},{cluster.endpoints}")
    assert (found.exit_code, found.stdout) == (0, "value")


def test_a_result_that_cannot_be_written_is_an_error(run: Run) -> None:
    run("kv", "set", "key", "value")

    def full(_value: bytes) -> None:
        raise OSError(28, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("flo.cli.output.print_raw", full)
        failed = run("kv", "get", "key")
    assert failed.exit_code == 3
    assert failed.stderr == "flo: cannot write the result: No space left on device\n"
