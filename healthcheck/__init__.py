# SPDX-License-Identifier: Apache-2.0

"""The health endpoint of an OpenStack service."""

from healthcheck.middleware import Healthcheck

__all__ = ['Healthcheck']
