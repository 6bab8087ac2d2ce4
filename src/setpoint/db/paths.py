"""Values inside of JSON, found by the path to them."""

from typing import Any

from sqlalchemy import JSON, ColumnElement, Connection, Text, case, cast, func, type_coerce


def text_at(conn: Connection, column: ColumnElement[Any], *path: str) -> ColumnElement[Any]:
    """Return the text at a path in a column of JSON; NULL where there is nothing.

    Numbers and truth values are as JSON writes them; an object or list is JSON too.
    """
    written = type_coerce(column, Text)
    if conn.dialect.name == "postgresql":
        return func.json_extract_path_text(cast(written, JSON), *path)
    place = "$" + "".join(f'."{part.replace(chr(34), "")}"' for part in path)
    kind = func.json_type(written, place)
    value = cast(func.json_extract(written, place), Text)
    return case((kind.in_(["true", "false"]), kind), else_=value)
