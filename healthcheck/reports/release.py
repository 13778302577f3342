# SPDX-License-Identifier: Apache-2.0

"""The release of this package."""

from __future__ import annotations

import functools
from importlib import metadata

DISTRIBUTION = 'openstack-healthcheck'

UNKNOWN = 'unknown'


@functools.cache
def version() -> str:
    """The installed release; UNKNOWN if a copy of the source is run."""
    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return UNKNOWN
