"""The error tree: what each leaf states, and what the messages of calls say."""

import asyncio
import copy
import pickle
import re
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

import flo
from flo import (
    BadRequestError,
    BlockTooLongError,
    ConflictError,
    ConnectionFailedError,
    CrossShardError,
    FloClient,
    FloError,
    GenericServerError,
    KeyTooLargeError,
    KVExpireOptions,
    NamespaceTooLargeError,
    NoSuchTransactionError,
    NotConnectedError,
    NotFoundError,
    OverloadedError,
    ProtocolError,
    PutOptions,
    Ran,
    Reason,
    RequestTimeoutError,
    RetryPolicy,
    ServerError,
    StatusCode,
    TableMismatchError,
    TransactionTooLargeError,
    UnavailableError,
    UnexpectedEofError,
    ValidationError,
    WrongLoopError,
    is_connection_error,
)
from flo._call import Call, Era
from flo._failures import refusal_error
from flo.wire import messages as wire
from flo.wire.status import STATUS_OF_REASON, Refusal, Status
from tests.unit.client.fake_node import Action, FakeCluster, Garble, Hold, Lose, Script

DOCUMENT = Path(__file__).parents[3] / "docs" / "client" / "errors.md"
ONCE = RetryPolicy(max_attempts=1)


def tree(root: type[FloError] = FloError) -> list[type[FloError]]:
    """The package's classes from here down."""
    here = [root] if root.__module__ == "flo.exceptions" else []
    return here + [each for child in root.__subclasses__() for each in tree(child)]


def made(kind: type[FloError]) -> FloError:
    if issubclass(kind, TableMismatchError):
        return kind(3, 0xABC, outcome="unknown")
    if issubclass(kind, ServerError):
        return kind("why", StatusCode(77), reason=Reason.SHARD_BUSY, ran=Ran.YES, retryable=True)
    return kind("why", outcome="unknown", retryable=True)


def call(*, is_write: bool = True, may_have_run: bool = False) -> Call:
    body = wire.KvPut(b"n", b"key", b"") if is_write else wire.KvGet(b"n", b"key")
    made = Call(body, 3, 0.0, 5.0, Era(), is_write=is_write)
    made.may_have_run = may_have_run
    return made


class TestTree:
    def test_is_as_large_as_it_should_be(self) -> None:
        assert len(tree()) == len(set(tree())) == 34

    @pytest.mark.parametrize("kind", tree())
    def test_each_is_exported_documented_and_states_its_facts(self, kind: type[FloError]) -> None:
        assert getattr(flo, kind.__name__) is kind
        assert kind.__name__ in flo.__all__
        assert kind.__doc__
        assert isinstance(kind.retryable, bool)
        assert kind.outcome in ("not_applied", "unknown")
        assert f"`{kind.__name__}`" in DOCUMENT.read_text()

    @pytest.mark.parametrize("kind", tree())
    def test_survives_pickle_and_copy(self, kind: type[FloError]) -> None:
        error = made(kind)
        error.add_note("noted")
        for other in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
            assert type(other) is kind
            assert (str(other), other.args) == (str(error), error.args)
            assert vars(other) == vars(error)

    def test_subclasses_with_their_own_constructor_survive_too(self) -> None:
        error = copy.copy(_Custom(3, "shop"))
        assert (str(error), error.count, error.retryable) == ("3 in shop", 3, True)

    def test_crosses_a_process_pool(self) -> None:
        with (
            ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool,
            pytest.raises(ConflictError, match="other") as caught,
        ):
            pool.submit(_fail).result()
        assert (caught.value.reason, caught.value.outcome) == (Reason.CAS_MISMATCH, "not_applied")

    def test_codes_are_stable_and_tell_leaves_apart(self) -> None:
        own = [kind for kind in tree() if not issubclass(kind, ServerError)]
        codes = {made(kind).code for kind in own}
        assert len(codes) == len(own)
        assert {"NOT_CONNECTED", "REQUEST_TIMEOUT", "UNEXPECTED_EOF", "WRONG_LOOP"} <= codes
        assert ConflictError(reason=Reason.CAS_MISMATCH).code == "CAS_MISMATCH"


class _Custom(FloError):
    def __init__(self, count: int, where: str) -> None:
        super().__init__(f"{count} in {where}", retryable=True)
        self.count = count


def _fail() -> None:
    raise ConflictError("other", reason=Reason.CAS_MISMATCH, ran=Ran.NO)


class TestFacts:
    @pytest.mark.parametrize("reason", list(Reason))
    def test_every_reason_has_an_error_with_its_status(self, reason: Reason) -> None:
        error = refusal_error(call(), Refusal(reason, Ran.NO, "why"))
        assert (error.reason, error.ran, error.outcome) == (reason, Ran.NO, "not_applied")
        assert error.status_code == int(STATUS_OF_REASON[reason])
        assert str(error).startswith("kv.put of 'key' in namespace 'n': why")

    @pytest.mark.parametrize(
        ("reason", "kind", "parent"),
        [
            (Reason.NO_SUCH_TRANSACTION, NoSuchTransactionError, NotFoundError),
            (Reason.WRONG_ROUTING_KEY, CrossShardError, BadRequestError),
            (Reason.TXN_TOO_LARGE, TransactionTooLargeError, BadRequestError),
        ],
    )
    def test_reasons_with_a_class_of_their_own(
        self, reason: Reason, kind: type[ServerError], parent: type[ServerError]
    ) -> None:
        error = refusal_error(call(), Refusal(reason, Ran.NO, "why"))
        assert type(error) is kind
        # The official client knows the parent alone.
        assert issubclass(kind, parent)
        assert kind().status_code is parent().status_code is error.status_code

    def test_a_status_without_a_class_is_generic(self) -> None:
        error = refusal_error(call(), Refusal(Reason.UNCLASSIFIED, Ran.NO, "", Status.GROUP_LOCKED))
        assert type(error) is GenericServerError
        assert error.status_code is StatusCode.GROUP_LOCKED
        assert "consumer group is locked" in str(error)

    @pytest.mark.parametrize(
        ("reason", "ran", "earlier_copy", "outcome"),
        [
            (Reason.SHARD_BUSY, Ran.NO, False, "not_applied"),
            (Reason.SHARD_BUSY, Ran.NO, True, "unknown"),
            (Reason.ANSWER_LOST, Ran.UNKNOWN, False, "unknown"),
            (Reason.COMMITTED_NOT_APPLIED, Ran.YES, False, "unknown"),
            # The answer of the state: all copies of a write have the same.
            (Reason.CAS_MISMATCH, Ran.NO, True, "not_applied"),
        ],
    )
    def test_outcome_of_a_write(
        self, reason: Reason, ran: Ran, earlier_copy: bool, outcome: str
    ) -> None:
        error = refusal_error(call(may_have_run=earlier_copy), Refusal(reason, ran, "why"))
        assert error.outcome == outcome
        assert ("read before you repeat it" in str(error)) == (outcome == "unknown")

    def test_a_read_leaves_nothing_unknown(self) -> None:
        refusal = Refusal(Reason.ANSWER_LOST, Ran.UNKNOWN, "why")
        assert refusal_error(call(is_write=False), refusal).outcome == "not_applied"

    def test_outcome_follows_ran_unless_given(self) -> None:
        assert ConflictError("no", ran=Ran.NO).outcome == "not_applied"
        assert ConflictError("no").outcome == "unknown"
        assert ConflictError("no", outcome="not_applied").outcome == "not_applied"
        assert ConflictError().status_code is StatusCode.CONFLICT

    def test_a_timeout_is_an_asyncio_timeout_and_a_connection_error(self) -> None:
        error = RequestTimeoutError("late")
        assert isinstance(error, asyncio.TimeoutError)
        assert (str(error), error.outcome, error.retryable) == ("late", "unknown", True)

    @pytest.mark.parametrize("kind", tree())
    def test_which_are_about_the_connection(self, kind: type[FloError]) -> None:
        about = (
            UnexpectedEofError,
            NotConnectedError,
            ConnectionFailedError,
            RequestTimeoutError,
        )
        assert is_connection_error(made(kind)) == (kind in about)


def script(kind: type[wire.Body], action: Action) -> Script:
    return lambda request: action if isinstance(request.body, kind) else None


class TestMessages:
    """What a person reads: which call, where, how long and how often, and what to do."""

    @pytest.mark.parametrize(
        ("action", "kind", "says"),
        [
            (
                Refusal(Reason.CAS_MISMATCH, Ran.NO, "the version is 9"),
                ConflictError,
                r"^kv\.put of 'order:7': the version is 9$",
            ),
            (
                Refusal(Reason.SHARD_BUSY, Ran.NO, "too much"),
                OverloadedError,
                r"^kv\.put of 'order:7': too much \(partition \d+, 1 try, last at NODE,"
                r" within 400 ms\)$",
            ),
            (
                Refusal(Reason.ANSWER_LOST, Ran.UNKNOWN, "the leader died"),
                UnavailableError,
                r"the leader died \(.*NODE.*\)\. It may have been executed, .*: read before",
            ),
            (
                Hold(),
                RequestTimeoutError,
                r"^kv\.put of 'order:7': no answer in time \(partition \d+, 1 try, last at NODE,"
                r" within 400 ms\)\. It may have been executed, .*: read before you repeat it$",
            ),
            (
                Lose(executed=True),
                UnexpectedEofError,
                r"the connection to NODE ended.*1 try.*read before you repeat it$",
            ),
            (
                Garble(b"HTTP/1.1 400 Bad Request\r\n\r\n".ljust(64)),
                ProtocolError,
                r"NODE broke the protocol: .*not the Flo protocol.*read before you repeat it$",
            ),
        ],
    )
    async def test_of_a_failed_put(self, action: Action, kind: type[FloError], says: str) -> None:
        async with (
            FakeCluster() as cluster,
            FloClient(cluster.endpoints, retry=ONCE) as client,
        ):
            await client.kv.put("order:7", b"1")
            node = cluster.nodes[0]
            node.script = script(wire.KvPut, action)
            with pytest.raises(kind) as caught:
                await client.kv.put("order:7", b"2", timeout_ms=400)
            assert re.search(says.replace("NODE", re.escape(node.address)), str(caught.value))
            node.release()

    async def test_of_a_read_that_timed_out(self) -> None:
        async with FakeCluster() as cluster, FloClient(cluster.endpoints) as client:
            cluster.nodes[0].script = lambda _: Hold()
            with pytest.raises(RequestTimeoutError) as caught:
                await client.kv.mget(["a", "b"], timeout_ms=5)
            assert re.fullmatch(
                rf"kv\.mget of 2 keys: no answer in time \(1 try, last at {cluster.endpoints},"
                r" within 5 ms\)\. Try again, or allow more with timeout_ms",
                str(caught.value),
            )

    async def test_of_a_cluster_that_is_gone(self) -> None:
        async with FakeCluster() as cluster, FloClient(cluster.endpoints) as client:
            await cluster.nodes[0].stop()
            with pytest.raises(ConnectionFailedError) as caught:
                await client.kv.get("k" * 100, timeout_ms=60)
            text = str(caught.value)
            assert f"no node could be reached: {cluster.endpoints} (" in text
            assert f"'{'k' * 80}...'" in text
            assert "within 60 ms" in text

    async def test_of_an_address_that_is_wrong(self) -> None:
        with pytest.raises(ConnectionFailedError, match=r"127\.0\.0\.1:1 \(.*Check the addresses"):
            await FloClient("127.0.0.1:1").connect()

    async def test_of_a_refusal_that_says_nothing(self) -> None:
        async with FakeCluster() as cluster, FloClient(cluster.endpoints) as client:
            silent = Refusal(Reason.NOT_FOUND, Ran.NO, "")
            cluster.nodes[0].script = script(wire.KvExpire, silent)
            with pytest.raises(NotFoundError, match=r"^kv\.expire of 'key': Not found$"):
                await client.kv.expire("key", 1)

    @pytest.mark.parametrize(
        ("kind", "says", "options"),
        [
            (ValidationError, "cas_version of -1: give the version", PutOptions(cas_version=-1)),
            (ValidationError, "ttl_ms of -1: 0 to", PutOptions(ttl_ms=-1)),
            (NamespaceTooLargeError, "64 bytes: at most 63", PutOptions(namespace="n" * 64)),
            (ValidationError, "namespace '.ud800' is no valid", PutOptions(namespace="\ud800")),
        ],
    )
    async def test_of_bad_options(
        self, kind: type[FloError], says: str, options: PutOptions
    ) -> None:
        async with FakeCluster() as cluster, FloClient(cluster.endpoints) as client:
            with pytest.raises(kind, match=says) as caught:
                await client.kv.put("key", b"", options)
            assert (caught.value.retryable, caught.value.outcome) == (False, "not_applied")
            assert not cluster.nodes[0].of_type(wire.KvPut)

    async def test_of_bad_arguments(self) -> None:
        async with FakeCluster() as cluster, FloClient(cluster.endpoints) as client:
            kv = client.kv
            with pytest.raises(KeyTooLargeError, match="key of 5000 bytes: at most 4088"):
                await kv.put("k" * 5000, b"")
            with pytest.raises(ValidationError, match=r"key '.ud800' is no valid text"):
                await kv.put("\ud800", b"")
            with pytest.raises(BlockTooLongError, match="wait_ms of 300001: at most 300000"):
                await kv.get("key", flo.GetOptions(wait_ms=300_001))
            with pytest.raises(ValidationError, match="cas_version of -2"):
                await kv.expire("key", 1, KVExpireOptions(cas_version=-2))
            with pytest.raises(ValidationError, match="timeout_ms of nan"):
                await kv.get("key", timeout_ms=float("nan"))
            assert len(cluster.nodes[0].requests) == 1


def test_names_in_messages_of_errors_that_programs_make() -> None:
    assert str(BadRequestError()) == "Bad request"
    assert str(WrongLoopError("here")) == "here"
