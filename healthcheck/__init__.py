# SPDX-License-Identifier: Apache-2.0

"""The health endpoint of an OpenStack service."""

from healthcheck.evidence.observing import observe
from healthcheck.middleware import Healthcheck

__all__ = ['Healthcheck', 'observe']
