# SPDX-License-Identifier: Apache-2.0

"""Loads the entry points that an option names."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import difflib
import functools
import hashlib
from importlib import metadata
import pathlib
import sys
from typing import Any

import stevedore
from stevedore import extension

from healthcheck.config import redact
from healthcheck.reports import lines

_OURS = 'openstack-healthcheck'


def load(namespace: str, option: str, kind: str, names: Sequence[str],
         problems: list[str]) -> dict[str, Any]:
    """The objects that the named entry points refer to, in that order.

    :param option: the option with the names
    :param kind: what they name, for errors
    :param problems: gets a line for each that cannot be loaded
    """
    failed: dict[str, BaseException] = {}

    def note(manager: object, entry: Any, exc: BaseException) -> None:
        failed[entry.name] = exc

    def report_missing(missing: Iterable[str]) -> None:
        # stevedore counts those that failed to load among the missing.
        problems.extend(_no_such(namespace, option, kind, name)
                        for name in sorted({*missing} - failed.keys()))
    found: dict[str, Any] = {}
    for name in names:
        # One by one: stevedore lets some exceptions out, even SystemExit.
        try:
            manager: Any = stevedore.NamedExtensionManager(
                namespace, [name], on_load_failure_callback=note,
                on_missing_entrypoints_callback=report_missing)
            found.update((ext.name, ext.plugin) for ext in manager)
        except KeyboardInterrupt:
            raise
        except BaseException as exc:
            failed[name] = exc
    problems.extend(cannot_load(option, name, exc)
                    for name, exc in failed.items())
    return found


def cannot_load(option: str, name: str, exc: BaseException) -> str:
    """The error for a plugin that is installed, but cannot be loaded."""
    kind = lines.kind_of(exc).removeprefix('builtins.')
    return (f'{option} = {name!r}: cannot be loaded: {kind}: '
            f'{redact.Redactor()(exc)}')


@functools.cache
def is_ours(module: str) -> bool:
    """Whether a module belongs to this package."""
    return module.partition('.')[0] == __name__.partition('.')[0]


def version_of(module: str) -> str:
    """Identifies the code of a module, for a comparison.

    It is the version of its distribution and a digest of the module itself,
    because a deployer may edit that without a new version.
    """
    package = module.partition('.')[0]
    names = [_OURS] if is_ours(module) else (
        _distributions(tuple(sys.path)).get(package, []))
    versions = []
    for name in sorted({*names}):
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions.append(f'{name} {metadata.version(name)}')
    path = getattr(sys.modules.get(module), '__file__', None)
    if path is not None:
        with contextlib.suppress(OSError):
            versions.append(hashlib.sha256(
                pathlib.Path(path).read_bytes()).hexdigest())
    return ' '.join(versions)


@functools.lru_cache(2)
def _distributions(path: tuple[str, ...]) -> Mapping[str, Sequence[str]]:
    """Names of the distributions of each top package.

    It reads about all that is installed: 0.1 to 0.5 s, so once a process.

    :param path: ``sys.path``; more may be found when it has changed
    """
    return metadata.packages_distributions()


def _no_such(namespace: str, option: str, kind: str, name: str) -> str:
    known = sorted({entry.name for entry in extension.ExtensionManager(
        namespace, invoke_on_load=False).list_entry_points()})
    near = difflib.get_close_matches(name, known, 1)
    return (f'{option} = {name!r}: there is no such {kind}'
            + (f'; did you mean {near[0]}?' if near else '')
            + f' (installed: {", ".join(known)})')
