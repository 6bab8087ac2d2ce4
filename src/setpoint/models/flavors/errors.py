"""Why a model cannot be compiled: no failure, the native model serves then."""


class Uncompilable(Exception):
    """The model cannot be expressed in ONNX exactly; the message says why, in a clause."""
