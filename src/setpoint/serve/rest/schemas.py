"""The schemas of requests and answers in the OpenAPI document."""

from typing import Any

from setpoint.serve import v2

Schema = dict[str, Any]


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def fields(required: str = "", **properties: Schema) -> Schema:
    return {"type": "object", "required": required.split(), "properties": properties}


def array(items: Schema, **more: Any) -> Schema:
    return {"type": "array", "items": items, **more}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


STRING: Schema = {"type": "string"}
INTEGER: Schema = {"type": "integer"}
ANY: Schema = {}

_INPUT = fields(
    "name shape datatype",
    name=STRING,
    shape=array({"type": "integer", "minimum": 0}),
    datatype={"enum": list(v2.DATATYPES)},
    data=array(ANY, description="Flat in row-major order, or nested like the shape."),
    parameters=fields(binary_data_size={"type": "integer", "minimum": 0}),
)
_OUTPUT = fields(
    "name shape datatype",
    name=STRING,
    shape=array(INTEGER),
    datatype={"enum": list(v2.DATATYPES)},
    data=array(ANY),
    parameters=fields(binary_data_size=INTEGER),
)
_METADATA_TENSOR = fields("name datatype shape", name=STRING, datatype=STRING, shape=array(INTEGER))
SCHEMAS: dict[str, Schema] = {
    "Error": fields("error", error=STRING),
    "MlflowError": fields("error_code message", error_code=STRING, message=STRING),
    "SageMakerError": fields("error_code message", error_code=STRING, message=STRING),
    "Parameters": fields(
        ids=array(STRING, description="Prediction ids, one a row; made up where absent."),
        keys=array(STRING, description="What routing sticks to, one a row; else the ids."),
        binary_data_output={"type": "boolean"},
        route={"type": "string", "description": "Who is to answer: an arm, or a version."},
    ),
    "InferRequest": fields(
        "inputs",
        id=STRING,
        inputs=array(_INPUT, minItems=1),
        parameters=ref("Parameters"),
        outputs=array(fields("name", name=STRING)),
    ),
    "InferAnswer": fields(
        "model_name model_version id parameters outputs",
        model_name=STRING,
        model_version=STRING,
        id=STRING,
        parameters=fields(
            "ids versions", ids=array(STRING), versions=array(INTEGER), arms=array(STRING)
        ),
        outputs=array(_OUTPUT),
    ),
    "ExplainAnswer": fields(
        "model_name model_version outputs",
        model_name=STRING,
        model_version=STRING,
        id=STRING,
        outputs=array(_OUTPUT),
    ),
    "Labels": fields(
        "ids labels",
        ids=array({"type": "string", "minLength": 1, "maxLength": v2.LONGEST_ID}),
        labels=array({"type": ["number", "boolean", "string"]}),
    ),
    "Metadata": fields(
        "name versions platform inputs outputs",
        name=STRING,
        versions=array(STRING),
        platform=STRING,
        inputs=array(_METADATA_TENSOR),
        outputs=array(_METADATA_TENSOR),
    ),
    "Statistics": fields("model_stats", model_stats=array(fields("name version"))),
    "Job": fields(
        "id model state rows position",
        id=STRING,
        model=STRING,
        state=STRING,
        rows=INTEGER,
        position=ANY,
        accepted_at=_or_null(STRING),
        started_at=_or_null(STRING),
        ended_at=_or_null(STRING),
        error=ANY,
        output=_or_null(STRING),
        delivered=_or_null({"type": "boolean"}),
    ),
    "Predict": fields(
        instances=array(ANY, description="Row by row: objects, arrays, or lone values."),
        inputs={
            "description": "Column by column: an object of arrays.",
            "type": ["object", "array"],
        },
        signature_name={"enum": ["serving_default", ""]},
        parameters=ref("Parameters"),
    ),
    "Examples": fields("examples", examples=array({"type": "object"}), context={"type": "object"}),
    "Invocation": fields(
        dataframe_split=fields("columns data", columns=array(STRING), data=array(array(ANY))),
        dataframe_records=array({"type": "object"}),
        instances=array(ANY),
        inputs={"type": ["object", "array"]},
        params={"type": "object"},
        parameters=ref("Parameters"),
    ),
}
