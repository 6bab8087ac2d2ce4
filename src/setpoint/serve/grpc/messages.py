"""Messages of protocol buffers, declared in a line or two each, without generated code.

``Name: string name=1; int64* shape=2; Other> by_key=3; Other one=4`` declares a message with a
text, a list (``*``), a map from texts (``>``) and another message; lines without a name go on.
Names of messages are only ours: on the wire there are numbers.
"""

import re
from types import SimpleNamespace
from typing import Any

from google.protobuf import any_pb2, wrappers_pb2
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

_FIELD = re.compile(r"(?P<type>[\w.]+)(?P<many>[*>]?) (?P<name>\w+)=(?P<number>\d+)")
_SCALARS: dict[str, Any] = {
    name: getattr(FieldDescriptorProto, f"TYPE_{name.upper()}")
    for name in (
        *("double", "float", "int32", "int64", "uint32", "uint64", "bool", "string", "bytes"),
    )
}
_KNOWN = (any_pb2, wrappers_pb2)  #: others' messages, which ours may have by their whole names


def declare(package: str, text: str) -> SimpleNamespace:
    """Return the classes of declared messages, by their names.

    Args:
        package: Of the messages; unique in this process.
        text: Messages, each beginning with its name and a colon.

    Example:
        >>> made = declare("doc", "Point: double x=1; double y=2")
        >>> made.Point(x=1.5).SerializeToString().hex()
        '09000000000000f83f'
    """
    file = FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
    pool = DescriptorPool()
    for known in _KNOWN:
        pool.AddSerializedFile(known.DESCRIPTOR.serialized_pb)
        file.dependency.append(known.DESCRIPTOR.name)
    for line in filter(None, map(str.strip, text.splitlines())):
        name, colon, fields = line.partition(":")
        if colon:
            file.message_type.add(name=name)
        _add(file.message_type[-1], package, fields if colon else line)
    pool.Add(file)
    found = {}
    for message in file.message_type:
        declared = pool.FindMessageTypeByName(f"{package}.{message.name}")
        found[message.name] = GetMessageClass(declared)
    return SimpleNamespace(**found)


def _add(made: DescriptorProto, package: str, fields: str) -> None:
    for declared in filter(None, map(str.strip, fields.split(";"))):
        found = _FIELD.fullmatch(declared)
        if found is None:
            msg = f"{declared!r} of {made.name} is no field"
            raise ValueError(msg)
        field = made.field.add(name=found["name"], number=int(found["number"]))
        field.label = FieldDescriptorProto.LABEL_OPTIONAL
        if found["many"]:
            field.label = FieldDescriptorProto.LABEL_REPEATED
        if found["many"] == ">":
            _map(made, field, package, found["type"])
        else:
            _typed(field, package, found["type"])


def _map(made: DescriptorProto, field: FieldDescriptorProto, package: str, kind: str) -> None:
    """Make a field a list of pairs, each a message of its own inside of the one that has it."""
    name = "".join(part.title() for part in field.name.split("_"))
    entry = made.nested_type.add(name=f"{name}Entry")
    entry.options.map_entry = True
    key = entry.field.add(name="key", number=1, label=FieldDescriptorProto.LABEL_OPTIONAL)
    key.type = FieldDescriptorProto.TYPE_STRING
    value = entry.field.add(name="value", number=2, label=FieldDescriptorProto.LABEL_OPTIONAL)
    _typed(value, package, kind)
    field.type = FieldDescriptorProto.TYPE_MESSAGE
    field.type_name = f".{package}.{made.name}.{entry.name}"


def _typed(field: FieldDescriptorProto, package: str, kind: str) -> None:
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
        return
    field.type = FieldDescriptorProto.TYPE_MESSAGE
    field.type_name = f".{kind}" if "." in kind else f".{package}.{kind}"
