# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""The options of the service that oslo.messaging reads."""

from __future__ import annotations

import functools
from typing import Any

from oslo_messaging import opts

from healthcheck import config


_options: Any = functools.cache(opts.list_opts)  # it makes copies


def note(view: config.View) -> None:
    """Note all of them: what is sent over a transport depends on them.

    :raises healthcheck.exceptions.ConfigError: if one refers to an option
        that is not set
    """
    for group, options in _options():
        view.note_options(group, options)
