"""Traces that are sent, by OTLP over HTTP. Imported only where somebody wants them (`tracing`)."""

from __future__ import annotations

import contextvars
import hashlib
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import Link, Span, SpanContext, TraceFlags

from .tracing import ENDS_WITHIN_S, Order, Told, Traces, names_of

#: The ids of the order whose first span begins.
_forced: contextvars.ContextVar[SpanContext | None] = contextvars.ContextVar("forced", default=None)


class _Ids(RandomIdGenerator):
    """Ids by lot, but for an order's first span."""

    def generate_trace_id(self) -> int:
        forced = _forced.get()
        return forced.trace_id if forced else super().generate_trace_id()

    def generate_span_id(self) -> int:
        forced = _forced.get()
        return forced.span_id if forced else super().generate_span_id()


class _Told(Told):
    def __init__(self, traces: SentTraces, span: Span) -> None:
        self._traces = traces
        self._span = span

    def note(self, **attributes: str | int) -> None:
        self._span.set_attributes(attributes)

    def ordered(self, orders: Sequence[Order], placed: Sequence[Order]) -> None:
        self._span.set_attribute("orders", names_of(orders))
        for order in orders:
            self._span.add_link(self._traces.first_of(order))
        for order in placed:
            self._traces.begin(order, self._span)


class SentTraces(Traces):
    """The traces of one process. Its endpoint is the collector's; the SDK's own `OTEL_…` settings count too."""

    def __init__(self, endpoint: str, process: str) -> None:
        self._provider = TracerProvider(
            resource=Resource.create({"service.name": "mlm-freshness", "service.instance.id": process}),
            id_generator=_Ids(),
            shutdown_on_exit=False,
        )
        exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("mlm-freshness")

    @contextmanager
    def delivery(self) -> Iterator[Told]:
        """A span of its own trace."""
        with self._span("delivery", Context()) as told:
            yield told

    def here(self) -> SpanContext:
        """The context of the span that is open here."""
        return trace.get_current_span().get_span_context()

    @contextmanager
    def batch(self, deliveries: Sequence[Any]) -> Iterator[Told]:
        """A child of the first delivery's span, with links to the others'."""
        first, *others = [each for each in deliveries if each is not None and each.is_valid] or [None]
        with self._span("batch", _under(first), [Link(each) for each in others]) as told:
            told.note(deliveries=len(deliveries))
            yield told

    @contextmanager
    def read(self, orders: Sequence[Order], concerns: Sequence[str]) -> Iterator[Told]:
        """A child of the newest order's first span, with links to the others'."""
        with self._of_orders("slice read", orders) as told:
            told.note(concerns=",".join(concerns))
            yield told

    @contextmanager
    def landing(self, orders: Sequence[Order], concern: str) -> Iterator[Told]:
        """Likewise."""
        with self._of_orders("landing", orders) as told:
            told.note(concern=concern)
            yield told

    def end(self) -> None:
        """Send what is left. A collector that is away keeps nobody waiting."""
        sending = threading.Thread(target=self._provider.force_flush, daemon=True)
        sending.start()
        sending.join(ENDS_WITHIN_S)

    def first_of(self, order: Order) -> SpanContext:
        """The context of an order's first span, whoever asks, wherever. Sampled as the SDK's sampler says."""
        digest = hashlib.sha256(f"mlm-freshness order {order[0]}.{order[1]}".encode()).digest()
        trace_id, span_id = int.from_bytes(digest[:16]), int.from_bytes(digest[16:24])
        decision = self._provider.sampler.should_sample(Context(), trace_id, "order").decision
        flags = TraceFlags(TraceFlags.SAMPLED if decision is Decision.RECORD_AND_SAMPLE else TraceFlags.DEFAULT)
        return SpanContext(trace_id, span_id, is_remote=True, trace_flags=flags)

    def begin(self, order: Order, batch: Span) -> None:
        """An order's first span: placed with this batch."""
        token = _forced.set(self.first_of(order))
        try:
            attributes: dict[str, str | int] = {"order": f"{order[0]}.{order[1]}", "file_id": order[0]}
            link = Link(batch.get_span_context())
            self._tracer.start_span("order", Context(), attributes=attributes, links=[link]).end()
        finally:
            _forced.reset(token)

    @contextmanager
    def _of_orders(self, name: str, orders: Sequence[Order]) -> Iterator[Told]:
        *others, newest = orders
        links = [Link(self.first_of(each)) for each in others]
        with self._span(name, _under(self.first_of(newest)), links) as told:
            told.note(order=f"{newest[0]}.{newest[1]}", file_id=newest[0])
            yield told

    @contextmanager
    def _span(self, name: str, context: Context, links: Sequence[Link] = ()) -> Iterator[Told]:
        with self._tracer.start_as_current_span(
            name, context, links=links, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield _Told(self, span)
            except BaseException as error:
                span.set_status(trace.StatusCode.ERROR)
                span.set_attribute("error.type", type(error).__name__)
                raise


def _under(parent: SpanContext | None) -> Context:
    return trace.set_span_in_context(trace.NonRecordingSpan(parent), Context()) if parent else Context()
