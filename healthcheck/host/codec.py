# SPDX-License-Identifier: Apache-2.0

"""Frozen data to JSON and back. Data of the wrong type is refused.

Not pickle: anybody who can write our files could then run code as the service.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import json
import math
import types
import typing
from typing import Any, TypeVar

T = TypeVar('T')


def dump(value: object) -> bytes:
    """A dataclass of JSON's types, enums, tuples and dataclasses, as text."""
    return json.dumps(_plain(value), separators=(',', ':')).encode()


def load(kind: type[T], data: bytes) -> T:
    """A ``kind`` from the output of :func:`dump`.

    :raises ValueError: if it is anything else
    """
    try:
        made: T = _typed(kind, json.loads(data))
    except RecursionError:
        raise ValueError('nested too deeply') from None
    except OverflowError:
        raise ValueError('a number is too large') from None
    return made


def _plain(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return value.value
    if dataclasses.is_dataclass(value):
        kind: Any = type(value)
        return {name: _plain(getattr(value, name)) for name in _fields(kind)}
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return value


def _typed(kind: Any, value: Any) -> Any:
    if typing.get_origin(kind) is types.UnionType:
        if value is None:
            return None
        kind, = (arg for arg in typing.get_args(kind)
                 if arg is not types.NoneType)
    if typing.get_origin(kind) is tuple:
        of = typing.get_args(kind)[0]
        if not isinstance(value, list):
            raise ValueError(f'{value!r:.40} is not a list')
        return tuple(_typed(of, one) for one in value)
    if dataclasses.is_dataclass(kind):
        make: Any = kind
        fields = _fields(make)
        if not isinstance(value, dict) or value.keys() != fields.keys():
            raise ValueError(f'not the fields of {kind}')
        return make(**{name: _typed(of, value[name])
                       for name, of in fields.items()})
    if issubclass(kind, enum.Enum):
        return kind(value)
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        raise ValueError(f'{value!r:.40} is not a {kind}')
    if kind is float and not math.isfinite(value):
        raise ValueError(f'{value} is not a time or a duration')
    return value


@functools.cache
def _fields(kind: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name]
            for field in dataclasses.fields(kind)}
