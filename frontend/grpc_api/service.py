"""How the methods of a `.proto` file become things to call.

Servicers are plain classes with a method for each method of their service, in snake case. What kind
of function that is says how it is run:

- a plain function gets the request and the `Call`; it returns the answer, or None and answers
  later through the call. It is run at once, without a task: what many clients ask all the time
  should be one;
- a coroutine function returns the answer, and is run as a task;
- an asynchronous generator function gives any number of answers, and is run as a task. If the
  client sends a stream, it gets an iterator of requests.

All of them raise `TslError`. `methods_of` binds them by the service's own descriptor, so that a method
that is declared and not written is noticed at start.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any, Final

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass

_WORD: Final = re.compile(r"(?<!^)(?=[A-Z])")


class Method:
    """A method that can be called.

    Args:
        name: full name, ``package.Service/Method``.
        descriptor: of the method.
        call: the servicer's function.
        read: makes a request of bytes, None for what protobuf makes of them.

    Attributes:
        name: full name.
        parse: makes a request of bytes; raises protobuf's `DecodeError`. The servicer's own
            function ``read_…``, if it has one.
        request_name: name of its message.
        is_plain: whether it is run without a task.
        takes_stream: whether the client sends any number of messages.
        gives_stream: whether it is an asynchronous generator.
    """

    __slots__ = (
        "call",
        "gives_stream",
        "is_plain",
        "name",
        "parse",
        "request_name",
        "takes_stream",
    )

    def __init__(
        self,
        name: str,
        descriptor: MethodDescriptor,
        call: Callable[..., Any],
        read: Callable[[bytes], Any] | None = None,
    ) -> None:
        self.name = name
        self.call = call
        self.parse: Callable[[bytes], Any] = (
            read or GetMessageClass(descriptor.input_type).FromString
        )
        self.request_name = descriptor.input_type.full_name
        self.gives_stream = inspect.isasyncgenfunction(call)
        self.takes_stream: bool = descriptor.client_streaming
        self.is_plain = not self.gives_stream and not inspect.iscoroutinefunction(call)


def methods_of(service: Any, servicer: object, name: str = "") -> dict[bytes, Method]:
    """All methods of a service, by the paths they are called with.

    Args:
        service: descriptor of the service (a `ServiceDescriptor`; stubs differ about its type).
        servicer: has a function for each method.
        name: full name to serve it under; "" for its own.

    Raises:
        AttributeError: the servicer lacks a method.
    """
    full_name = name or service.full_name
    return {
        f"/{full_name}/{method.name}".encode(): Method(
            f"{full_name}/{method.name}",
            method,
            getattr(servicer, _snake(method.name)),
            getattr(servicer, f"read_{_snake(method.name)}", None),
        )
        for method in service.methods
    }


def _snake(name: str) -> str:
    return _WORD.sub("_", name).lower()
