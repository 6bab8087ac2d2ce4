"""Mutates bytes by what of the parsers they reach. Run by `test_bytes.py` in atheris' environment.

``python -m tests.load.atheris_bytes -runs=N``: ends with an error and the bytes if any of the
parsers raises what is no refusal.
"""

import sys

import atheris

with atheris.instrument_imports(include=["setpoint.serve"]):
    from setpoint.errors import Invalid, NotFound
    from setpoint.serve import lane, plain, tensors, v2, v2_binary
    from setpoint.serve.rest import formats, invocations, tensorflow

INPUTS = v2.Inputs([v2.InputSpec("a", text=False), v2.InputSpec("b", text=True)])
NUMBERS = v2.Inputs([v2.InputSpec("a", text=False), v2.InputSpec("b", text=False)])
_PARSERS = (
    lane.read_head,
    lambda body: plain.read(body, NUMBERS),
    lambda body: tensors.rows(v2.infer_request(body), INPUTS),
    lambda body: tensors.rows(v2.infer_request(body), NUMBERS),
    lambda body: tensors.rows(v2_binary.infer_request(body[1:], str(body[0] * 4)), NUMBERS),
    v2.label_request,
    lambda body: formats.from_csv(body, INPUTS),
    lambda body: formats.from_lines(body, INPUTS),
    lambda body: invocations._from_json(invocations._decode(body), INPUTS),
    lambda body: tensorflow._plain(tensorflow._predict(body).instances),
)


def one(data: bytes) -> None:
    if len(data) < 2:
        return
    parse = _PARSERS[data[0] % len(_PARSERS)]
    try:
        parse(data[1:])
    except (Invalid, NotFound):
        pass
    except (formats.msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        if data[0] % len(_PARSERS) < 8:  # the last two are called behind `read`, which knows them
            raise


if __name__ == "__main__":
    atheris.Setup(sys.argv, one)
    atheris.Fuzz()
