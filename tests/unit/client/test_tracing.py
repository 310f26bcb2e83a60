"""OpenTelemetry spans: what stands in them, and when there are any."""

import asyncio
import sys
from collections.abc import Iterator, Mapping

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

from flo import ConflictError, FloClient, PutOptions, RequestTimeoutError, ValidationError
from flo._tracing import CallTracer, find_tracer
from tests.unit.client.fake_node import FakeCluster, Hold


@pytest.fixture
def provider() -> TracerProvider:
    return TracerProvider()


@pytest.fixture
def exporter(
    provider: TracerProvider, monkeypatch: pytest.MonkeyPatch
) -> Iterator[InMemorySpanExporter]:
    """The program has set OpenTelemetry up, and collects its spans here."""
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    yield exporter
    provider.shutdown()


def attributes(span: ReadableSpan) -> Mapping[str, object]:
    assert span.attributes is not None
    return span.attributes


class TestSpans:
    async def test_one_for_each_call(self, exporter: InMemorySpanExporter) -> None:
        async with (
            FakeCluster() as cluster,
            FloClient(cluster.endpoints, namespace="shop") as client,
        ):
            await client.kv.put("secret key", b"secret value")
            await client.kv.get("missing")
            await client.kv.mget(["a"])
            put, get, mget = exporter.get_finished_spans()
            assert put.name == "kv.put shop"
            assert put.kind is SpanKind.CLIENT
            host, _, port = cluster.endpoints.rpartition(":")
            seen = dict(attributes(put))
            assert seen.pop("flo.partition") in range(4)
            assert seen == {
                "db.system.name": "flo",
                "db.operation.name": "kv.put",
                "db.namespace": "shop",
                "server.address": host,
                "server.port": int(port),
                "flo.attempts": 1,
            }
            assert put.status.status_code is StatusCode.UNSET
            assert "secret" not in put.to_json()
            assert "error.type" not in attributes(get)
            assert "flo.partition" not in attributes(mget)

    async def test_a_call_that_failed(self, exporter: InMemorySpanExporter) -> None:
        async with FakeCluster() as cluster, FloClient(cluster.endpoints) as client:
            await client.kv.put("key", b"1")
            with pytest.raises(ConflictError):
                await client.kv.put("key", b"2", PutOptions(cas_version=0))
            cluster.nodes[0].script = lambda _: Hold()
            with pytest.raises(RequestTimeoutError):
                await client.kv.get("key", timeout_ms=5)
            call = asyncio.create_task(client.kv.get("key"))
            await asyncio.sleep(0)
            call.cancel()
            await asyncio.wait((call,))
            conflict, timeout, cancelled = exporter.get_finished_spans()[1:]
            assert attributes(conflict)["error.type"] == "CAS_MISMATCH"
            assert attributes(conflict)["db.response.status_code"] == "CONFLICT"
            assert attributes(timeout)["error.type"] == "REQUEST_TIMEOUT"
            assert attributes(cancelled)["error.type"] == "CancelledError"
            for span in (conflict, timeout, cancelled):
                assert span.status.status_code is StatusCode.ERROR

    async def test_are_children_of_the_callers(
        self, exporter: InMemorySpanExporter, provider: TracerProvider
    ) -> None:
        async with FakeCluster() as cluster, FloClient(cluster.endpoints) as client:
            with provider.get_tracer("program").start_as_current_span("request") as request:
                await client.kv.get("key")
            child, parent = exporter.get_finished_spans()
            assert child.parent == request.get_span_context()
            assert parent.name == "request"

    async def test_that_are_not_sampled_cost_no_attributes(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        unsampled = TracerProvider(sampler=ALWAYS_OFF)
        monkeypatch.setattr(trace, "get_tracer_provider", lambda: unsampled)
        async with FakeCluster() as cluster, FloClient(cluster.endpoints) as client:
            assert await client.kv.get("key") is None
        unsampled.shutdown()


class TestSwitch:
    def test_off_is_off(self, exporter: InMemorySpanExporter) -> None:
        assert find_tracer(False) is None
        assert isinstance(find_tracer(None), CallTracer)

    def test_without_a_set_up_only_when_wanted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # A set-up is for good, and a page of the documentation may have made one in this process.
        monkeypatch.setattr(trace, "get_tracer_provider", trace.ProxyTracerProvider)
        assert find_tracer(None) is None
        assert isinstance(find_tracer(True), CallTracer)

    def test_a_program_that_has_not_imported_the_library_does_not_pay_for_it(
        self, exporter: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delitem(sys.modules, "opentelemetry.trace")
        assert find_tracer(None) is None

    async def test_wanted_without_the_library_says_what_to_install(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "opentelemetry", None)
        with pytest.raises(ValidationError, match="install opentelemetry-api"):
            await FloClient("127.0.0.1:1", tracing=True).connect()
