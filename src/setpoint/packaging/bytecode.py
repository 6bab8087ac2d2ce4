"""Compiled modules that are the same wherever they are made, so that a server starts at once.

An image is read-only: what is not compiled in it is compiled at every start.
"""

import importlib.util
import marshal
from pathlib import PurePosixPath
from sys import implementation

from setpoint.packaging.trees import Tree

_UNCHECKED_HASH = (1).to_bytes(4, "little")  # PEP 552: no time inside, and none looked up
#: The last format without references between objects: which objects are shared depends on
#: what else the compiling interpreter has in memory.
_MARSHAL = 2


def compile_all(tree: Tree) -> None:
    """Add the compiled form of every module in `tree` beside it."""
    for path, source in tree.files():
        if path.endswith(".py") and (compiled := _compiled(path, source)) is not None:
            at = PurePosixPath(path)
            name = f"{at.stem}.{implementation.cache_tag}.pyc"
            tree.file(str(at.parent / "__pycache__" / name), compiled)


def _compiled(path: str, source: bytes) -> bytes | None:
    try:
        code = compile(source, f"/{path}", "exec", dont_inherit=True, optimize=0)
        compiled = marshal.dumps(code, _MARSHAL)
    except (SyntaxError, ValueError):  # a template, or of another Python: whoever runs it sees
        return None
    head = importlib.util.MAGIC_NUMBER + _UNCHECKED_HASH + importlib.util.source_hash(source)
    return head + compiled
