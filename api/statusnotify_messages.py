"""EMCO's StatusNotify messages, declared here and made at start: nothing generated is kept.

The numbers of the fields are the interface; an unmodified EMCO client depends on them.
"""

from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

SERVICE: Final = "StatusNotify"

_ENUMS: Final = {
    "StatusValue": ("STATUS_ERROR", "NOT_READY", "READY", "NOT_DEPLOYED", "DEPLOYED"),
    "OutputType": ("SUMMARY", "ALL"),
}
# Fields in the order of their numbers, from 1: name, type (string without one), `*` if repeated,
# `|name` for the oneof it is in.
_MESSAGES: Final = {
    "DigKey": "project, compositeApp, compositeAppVersion, deploymentIntentGroup",
    "LcKey": "project, logicalCloud",
    "ClusterKey": "clusterProvider, cluster",
    "StatusRegistration": "clientId, digKey DigKey |key, lcKey LcKey |key, "
    "clusterKey ClusterKey |key, statusType StatusValue, apps *, clusters *, resources *, "
    "output OutputType",
    "StatusNotification": "statusValue StatusValue, details StatusDetail *",
    "StatusDetail": "app AppStatus |statusDetail, cluster ClusterStatus |statusDetail",
    "AppStatus": "app, statusValue StatusValue, clusters ClusterStatus *",
    "ClusterStatus": "clusterProvider, cluster, statusValue StatusValue, "
    "resources ResourceStatus *",
    "ResourceStatus": "name, gvk GVK, statusValue StatusValue",
    "GVK": "group, version, kind",
    "StatusDeregistration": "clientId",
    "StatusDeregistrationResponse": "",
}
_FIELD: Final = descriptor_pb2.FieldDescriptorProto


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="statusnotify.proto", syntax="proto3")
    for name, values in _ENUMS.items():
        enum = file.enum_type.add(name=name)
        for number, value in enumerate(values):
            enum.value.add(name=value, number=number)
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, text in enumerate(filter(None, fields.split(", ")), 1):
            _add_field(message, number, *text.split())
    return file


def _add_field(
    message: descriptor_pb2.DescriptorProto, number: int, name: str, *marks: str
) -> None:
    field = message.field.add(name=name, number=number, json_name=name)
    field.label = _FIELD.LABEL_REPEATED if "*" in marks else _FIELD.LABEL_OPTIONAL
    field.type = _FIELD.TYPE_STRING
    for mark in marks:
        if mark.startswith("|"):
            if mark[1:] not in [one.name for one in message.oneof_decl]:
                message.oneof_decl.add(name=mark[1:])
            field.oneof_index = 0
        elif mark != "*":
            field.type = _FIELD.TYPE_ENUM if mark in _ENUMS else _FIELD.TYPE_MESSAGE
            field.type_name = f".{mark}"


_POOL: Final = descriptor_pool.DescriptorPool()
_POOL.Add(_file())


def message(name: str) -> Any:
    """The class of a message."""
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(name))


def value(name: str) -> int:
    """The number of a StatusValue."""
    return _ENUMS["StatusValue"].index(name)
