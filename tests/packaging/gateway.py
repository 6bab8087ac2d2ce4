"""What the Gateway API takes, by the types and schemas of `@kubernetes-models/gateway-api`.

Its validators look at values and let fields pass that they don't know; its types know every field.
So TypeScript reads the document as a literal of its type, then Node validates it.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from hatch_build import FRONTEND, node

_PACKAGES = FRONTEND / "node_modules"
_MODULE = "@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1/HTTPRoute"
_TYPES = {
    "compilerOptions": {"module": "nodenext", "noEmit": True, "strict": True, "skipLibCheck": True}
}


class Refused(ValueError):
    """The document is no HTTPRoute."""


def validate(document: Any, folder: Path) -> None:
    """Hold a document against the HTTPRoute of the Gateway API.

    Args:
        document: What a manifest says.
        folder: Where the program that holds it may be written.

    Raises:
        Refused: If it has a field that there is none of, lacks one, or a value is not allowed.
    """
    if not (_PACKAGES / "@kubernetes-models").is_dir():
        pytest.skip("@kubernetes-models/gateway-api is not installed: make check")
    packages = folder / "node_modules"
    if not packages.exists():
        packages.symlink_to(_PACKAGES, target_is_directory=True)
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "tsconfig.json").write_text(json.dumps({**_TYPES, "files": ["route.ts"]}))
    program = folder / "route.ts"
    program.write_text(
        f'import {{ HTTPRoute, type IHTTPRoute }} from "{_MODULE}";\n'
        f"const route: IHTTPRoute = {json.dumps(document, indent=2)};\n"
        "new HTTPRoute(route).validate();\n"
    )
    try:
        node("node_modules/typescript/bin/tsc", "--project", str(folder / "tsconfig.json"))
        node(str(program))
    except SystemExit as refused:
        raise Refused(refused) from None
