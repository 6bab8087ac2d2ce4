"""What only MLflow's interface knows: logged models, traces, files that belong to no run."""

from sqlalchemy import BigInteger, Column, Float, ForeignKey, Index, Integer, Table, Text

from setpoint.db.schema import Instant, Json, metadata

# Files under paths that are no run's: those of logged models and traces.
mlflow_files = Table(
    "mlflow_files",
    metadata,
    Column("path", Text, primary_key=True),
    Column("root", Text, nullable=False),  # its first three parts: what it belongs to
    Column("address", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("at", Instant, nullable=False),
    Index("ix_mlflow_files_root", "root"),
)

# Files that are sent in parts, until they are whole.
mlflow_uploads = Table(
    "mlflow_uploads",
    metadata,
    Column("id", Text, primary_key=True),
    Column("begun_at", Instant, nullable=False),
)

mlflow_parts = Table(
    "mlflow_parts",
    metadata,
    Column("upload_id", Text, ForeignKey("mlflow_uploads.id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("address", Text, nullable=False),
)

mlflow_models = Table(
    "mlflow_models",
    metadata,
    Column("id", Text, primary_key=True),
    Column("experiment_id", BigInteger, nullable=False),
    Column("name", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("lifecycle", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("location", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Index("ix_mlflow_models_experiment_id", "experiment_id", "created_at"),
)

mlflow_model_values = Table(
    "mlflow_model_values",
    metadata,
    Column("model_id", Text, ForeignKey("mlflow_models.id"), primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
    Index("ix_mlflow_model_values_kind", "kind", "name"),
)

# NULL is NaN, which SQLite cannot store.
mlflow_model_metrics = Table(
    "mlflow_model_metrics",
    metadata,
    Column("model_id", Text, ForeignKey("mlflow_models.id"), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("run_id", Text, primary_key=True),
    Column("step", BigInteger, primary_key=True, autoincrement=False),
    Column("at", Instant, primary_key=True),
    Column("dataset", Text, primary_key=True),
    Column("digest", Text, primary_key=True),
    Column("value", Float(53)),
)

mlflow_traces = Table(
    "mlflow_traces",
    metadata,
    Column("id", Text, primary_key=True),
    Column("experiment_id", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("requested_at", Instant, nullable=False),
    Column("duration", BigInteger),  # microseconds
    Column("client_request_id", Text, nullable=False),
    Column("request_preview", Text, nullable=False),
    Column("response_preview", Text, nullable=False),
    Index("ix_mlflow_traces_experiment_id", "experiment_id", "requested_at"),
)

# Tags and metadata of traces, and the runs they are linked to.
mlflow_trace_values = Table(
    "mlflow_trace_values",
    metadata,
    Column("trace_id", Text, ForeignKey("mlflow_traces.id"), primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
    Index("ix_mlflow_trace_values_kind", "kind", "name"),
)

# Times are nanoseconds since 1970, as OpenTelemetry has them.
mlflow_spans = Table(
    "mlflow_spans",
    metadata,
    Column("trace_id", Text, ForeignKey("mlflow_traces.id"), primary_key=True),
    Column("id", Text, primary_key=True),
    Column("parent", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("began", BigInteger, nullable=False),
    Column("ended", BigInteger),
    Column("attributes", Json, nullable=False),  # by name; values as OpenTelemetry's JSON
    Column("rest", Json, nullable=False),  # events, links and what else there is, likewise
    Index("ix_mlflow_spans_name", "name"),
)

mlflow_assessments = Table(
    "mlflow_assessments",
    metadata,
    Column("id", Text, primary_key=True),
    Column("trace_id", Text, ForeignKey("mlflow_traces.id"), nullable=False),
    Column("at", Instant, nullable=False),
    Column("content", Json, nullable=False),
    Index("ix_mlflow_assessments_trace_id", "trace_id"),
)
