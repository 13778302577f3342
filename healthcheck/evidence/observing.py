# SPDX-License-Identifier: Apache-2.0

"""Evidence from a service's own functions."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Collection
import contextlib
import functools
import inspect
import threading
import time
import types
from typing import Any, cast, TypeVar

from healthcheck.evidence import ledger as ledger_module
from healthcheck.evidence import request
from healthcheck.probing import evidence

F = TypeVar('F', bound=Callable[..., Any])
Kinds = type[BaseException] | tuple[type[BaseException], ...]

_listening: dict[str, tuple[tuple[ledger_module.Ledger, int], ...]] = {}
"""The slots to write to, by the name of a check. The dictionary is replaced
and never changed, so it is read without a lock."""

# Reentrant: a signal may end the process, and so call ignore(), in a thread
# that holds it.
_changing = threading.RLock()


def listen(ledger: ledger_module.Ledger, names: Collection[str]) -> None:
    """Record in a ledger what is observed for these checks."""
    global _listening
    with _changing:
        _listening = {**_listening, **{
            name: (*_listening.get(name, ()),
                   (ledger, ledger.slot(evidence.check_mark(name))))
            for name in names}}


def ignore(ledger: ledger_module.Ledger) -> None:
    """Stop recording in a ledger."""
    global _listening
    with _changing:
        _listening = {name: kept for name, found in _listening.items()
                      if (kept := tuple(one for one in found
                                        if one[0] is not ledger))}


class observe:
    """Uses the outcome of a function's calls as evidence on a check.

    It is a context manager, and a decorator of functions, generators,
    coroutines and asynchronous generators::

        @healthcheck.observe('image_store', failures=StoreError)
        def fetch(image): ...

        with healthcheck.observe('image_store', failures=StoreError): ...

    A call that returns stands in for a probe of the check. So observe only
    calls that show all that the probe would show. A call that raises one of
    ``failures`` sets off a probe, which decides. Other exceptions are no
    evidence. All exceptions are raised again. If no such check is configured,
    the cost is one look-up.

    If our filter sees the requests, a failed call of an anonymous request is
    no evidence.

    :param name: of the check, as in ``backends``
    :param failures: exceptions that can be the backend's fault
    :param ignore: exceptions among these that cannot
    """

    def __init__(self, name: str, failures: Kinds = Exception,
                 ignore: Kinds = ()) -> None:
        self._name = name
        self._failures = failures
        self._ignore = ignore
        self._began_at = 0.0

    def __enter__(self) -> None:
        self._began_at = time.monotonic()

    def __exit__(self, kind: type[BaseException] | None,
                 exc: BaseException | None,
                 traceback: types.TracebackType | None) -> None:
        for ledger, slot in _listening.get(self._name, ()):
            if exc is None:
                ledger.answered(slot, self._began_at)
            elif (isinstance(exc, self._failures)
                  and not isinstance(exc, self._ignore)
                  and request.counts()):
                ledger.failed(slot)

    def __call__(self, function: F) -> F:
        wrap: Any = _plain
        for is_one, other in _OTHERS:
            if is_one(function):
                wrap = other
        wrapped: Any = functools.wraps(function)(wrap(self, function))
        return cast(F, wrapped)

    def call(self) -> contextlib.AbstractContextManager[None]:
        """A context manager that observes one call of a function."""
        if self._name not in _listening:
            return _NOTHING
        return observe(self._name, self._failures, self._ignore)


_NOTHING = contextlib.nullcontext()


def _plain(by: observe, function: Callable[..., Any]) -> Any:
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with by.call():
            return function(*args, **kwargs)
    return wrapped


def _generator(by: observe, function: Callable[..., Any]) -> Any:
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with by.call():
            return (yield from function(*args, **kwargs))
    return wrapped


def _coroutine(by: observe, function: Callable[..., Any]) -> Any:
    async def wrapped(*args: Any, **kwargs: Any) -> Any:
        with by.call():
            return await function(*args, **kwargs)
    return wrapped


def _asynchronous(by: observe, function: Callable[..., Any]) -> Any:
    async def wrapped(*args: Any, **kwargs: Any) -> Any:
        with by.call():
            async with contextlib.aclosing(
                    function(*args, **kwargs)) as items:
                async for item in items:
                    yield item
    return wrapped


_OTHERS = ((inspect.isgeneratorfunction, _generator),
           (inspect.iscoroutinefunction, _coroutine),
           (inspect.isasyncgenfunction, _asynchronous))
