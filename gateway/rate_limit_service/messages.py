"""The messages of `envoy.service.ratelimit.v3`, as far as they are read and written here.

They are described in Python, so that nothing has to be generated. Fields that are left out are skipped when they are
read: `limit`, with which an Envoy would set the size of a limit itself, and all that tells clients of limits when they
are written.
"""

from typing import Any

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

METHOD = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit"
"""The path of the service's one method."""

OK, OVER_LIMIT = 1, 2
"""Codes of a response, and of each descriptor in it."""

_PACKAGE = "gateway.rate_limit_service"
_STRING, _BYTES = FieldDescriptorProto.TYPE_STRING, FieldDescriptorProto.TYPE_BYTES
_UINT32, _UINT64 = FieldDescriptorProto.TYPE_UINT32, FieldDescriptorProto.TYPE_UINT64

_Field = tuple[str, int, int | str, bool]
"""Name, number, type or the message's name, and whether it is repeated."""

_MESSAGES: dict[str, list[_Field]] = {
    "Entry": [("key", 1, _STRING, False), ("value", 2, _STRING, False)],
    "UInt64Value": [("value", 1, _UINT64, False)],
    "Descriptor": [("entries", 1, "Entry", True), ("hits_addend", 3, "UInt64Value", False)],
    "Request": [
        ("domain", 1, _STRING, False),
        ("descriptors", 2, "Descriptor", True),
        ("hits_addend", 3, _UINT32, False),
    ],
    "Header": [("key", 1, _STRING, False), ("value", 2, _STRING, False)],
    "Status": [("code", 1, _UINT32, False)],
    "Response": [
        ("overall_code", 1, _UINT32, False),
        ("statuses", 2, "Status", True),
        ("response_headers_to_add", 3, "Header", True),
        ("request_headers_to_add", 4, "Header", True),
        ("raw_body", 5, _BYTES, False),
    ],
}
"""The numbers are those of the API; names of messages are our own, and are never sent. An enum is sent as a uint32."""


def _field(name: str, number: int, kind: int | str, repeated: bool) -> FieldDescriptorProto:
    field = FieldDescriptorProto(name=name, number=number)
    field.label = FieldDescriptorProto.LABEL_REPEATED if repeated else FieldDescriptorProto.LABEL_OPTIONAL
    if isinstance(kind, str):
        field.type, field.type_name = FieldDescriptorProto.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
    else:
        field.type = kind  # type: ignore[assignment] # one of its types
    return field


def _classes() -> dict[str, Any]:
    file = FileDescriptorProto(name="rate_limit_service.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        file.message_type.append(DescriptorProto(name=name, field=[_field(*each) for each in fields]))
    pool = DescriptorPool()
    pool.Add(file)
    return {name: GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in _MESSAGES}


_CLASSES = _classes()
Request, Response = _CLASSES["Request"], _CLASSES["Response"]
