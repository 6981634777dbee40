"""Pushes one known set of metrics, spans and a log record with the OpenTelemetry SDK, all over one OTLP protocol.

usage: otlp_push.py grpc|http/protobuf ENDPOINT

Prints one JSON object with the trace id that the SDK made up. Exits with 1 where the SDK reported anything at all, such as an
export that failed: the SDK itself only logs that.
"""

import json
import logging
import sys

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

NEVER_MS = 3_600_000
"""An export interval that never comes: what is exported is exported by the shutdown."""


class Complaints(logging.Handler):
    """Keeps what the SDK logs from WARNING on."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.seen = []

    def emit(self, record):
        self.seen.append(f"{record.name}: {record.getMessage()}")


def exporters(protocol, endpoint):
    """The three exporters of the protocol: metrics, spans, log records."""
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        return [kind(endpoint=endpoint, insecure=True) for kind in (OTLPMetricExporter, OTLPSpanExporter, OTLPLogExporter)]
    if protocol == "http/protobuf":
        from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        return [
            OTLPMetricExporter(endpoint=f"{endpoint}/v1/metrics"),
            OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces"),
            OTLPLogExporter(endpoint=f"{endpoint}/v1/logs"),
        ]
    sys.exit(f"no such protocol: {protocol}")


def record_metrics(meter):
    orders = meter.create_counter("orders", unit="{order}", description="Orders taken")
    for _ in range(5):
        orders.add(1, {"region": "north"})
    orders.add(7, {"region": "south"})

    open_carts = meter.create_up_down_counter("open.carts", description="Carts not yet paid")
    open_carts.add(9)
    open_carts.add(-4)

    meter.create_gauge("oven.temperature", unit="Cel", description="Of the oven").set(-12.5, {"oven": "left"})

    delivery = meter.create_histogram("delivery", unit="s", description="From order to door")
    for seconds in (0.25, 0.5, 4.0, 64.0):
        delivery.record(seconds)

    weight = meter.create_histogram("weight", unit="g", description="Of a letter")
    for grams in (0.5, 1.0, 2.0, 2.0, 1024.0):
        weight.record(grams)


def main(protocol, endpoint):
    complaints = Complaints()
    logging.getLogger().addHandler(complaints)

    metric_exporter, span_exporter, log_exporter = exporters(protocol, endpoint)
    resource = Resource.create(
        {"service.name": "bakery", "service.namespace": "shop", "service.instance.id": f"oven-{protocol}"}
    )
    meters = MeterProvider(
        [PeriodicExportingMetricReader(metric_exporter, export_interval_millis=NEVER_MS)],
        resource=resource,
        views=[
            View(instrument_name="delivery", aggregation=ExplicitBucketHistogramAggregation((0.5, 1.0, 5.0))),
            View(instrument_name="weight", aggregation=ExponentialBucketHistogramAggregation()),
        ],
    )
    tracers = TracerProvider(resource=resource)
    tracers.add_span_processor(BatchSpanProcessor(span_exporter))
    loggers = LoggerProvider(resource=resource)
    loggers.add_log_record_processor(BatchLogRecordProcessor(log_exporter))

    record_metrics(meters.get_meter("peers"))
    tracer = tracers.get_tracer("peers")
    with tracer.start_as_current_span("bake") as parent, tracer.start_as_current_span("knead"):
        # The record takes the trace and span id of the span that is current here.
        loggers.get_logger("peers").emit(
            LogRecord(severity_number=SeverityNumber.WARN, severity_text="WARN", body="the dough is sticky")
        )

    # This exports what each of them holds, once.
    for provider in (meters, tracers, loggers):
        provider.shutdown()
    if complaints.seen:
        sys.exit("\n".join(complaints.seen))
    json.dump({"trace_id": f"{parent.get_span_context().trace_id:032x}"}, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
