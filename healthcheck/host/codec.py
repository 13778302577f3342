# SPDX-License-Identifier: Apache-2.0

"""Frozen data to JSON and back. Data of the wrong type is refused.

Not pickle: anybody who can write our files could then run code as the service.
"""

from __future__ import annotations

from collections.abc import Callable
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
        made: T = _reader(typing.cast(Any, kind))(json.loads(data))
    except RecursionError:
        raise ValueError('nested too deeply') from None
    except OverflowError:
        raise ValueError('a number is too large') from None
    return made


def _plain(value: Any) -> Any:
    kind: Any = type(value)
    if kind in _JSON:
        return value
    if kind is tuple:
        return [_plain(one) for one in value]
    if isinstance(value, enum.Enum):
        return value.value
    if dataclasses.is_dataclass(value):
        return {name: _plain(getattr(value, name)) for name in _fields(kind)}
    return value


_JSON = frozenset((str, int, float, bool, types.NoneType))


# Made once for each type: to ask typing takes longer than to read a value.
@functools.cache
def _reader(kind: Any) -> Callable[[Any], Any]:
    """What makes a ``kind`` of JSON, and refuses anything else."""
    if typing.get_origin(kind) is types.UnionType:
        of, = (arg for arg in typing.get_args(kind)
               if arg is not types.NoneType)
        return functools.partial(_optional, _reader(of))
    if typing.get_origin(kind) is tuple:
        return functools.partial(_tuple, _reader(typing.get_args(kind)[0]))
    if dataclasses.is_dataclass(kind):
        make: Any = kind
        return functools.partial(_data, make, {
            name: _reader(of) for name, of in _fields(make).items()})
    if issubclass(kind, enum.Enum):
        return typing.cast(Callable[[Any], Any], kind)
    return _float if kind is float else functools.partial(_exact, kind)


def _optional(read: Callable[[Any], Any], value: Any) -> Any:
    return None if value is None else read(value)


def _tuple(read: Callable[[Any], Any], value: Any) -> Any:
    if not isinstance(value, list):
        raise ValueError(f'{value!r:.40} is not a list')
    return tuple([read(one) for one in value])


def _data(kind: Any, readers: dict[str, Callable[[Any], Any]],
          value: Any) -> Any:
    if not isinstance(value, dict) or value.keys() != readers.keys():
        raise ValueError(f'not the fields of {kind}')
    return kind(**{name: read(value[name])
                   for name, read in readers.items()})


def _float(value: Any) -> float:
    number = float(value) if type(value) is int else value
    if type(number) is not float:
        raise ValueError(f'{value!r:.40} is not a {float}')
    if not math.isfinite(number):
        raise ValueError(f'{value} is not a time or a duration')
    return number


def _exact(kind: Any, value: Any) -> Any:
    if type(value) is not kind:
        raise ValueError(f'{value!r:.40} is not a {kind}')
    return value


@functools.cache
def _fields(kind: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name]
            for field in dataclasses.fields(kind)}
