# SPDX-License-Identifier: Apache-2.0

"""The servers of the functional tests, for longer."""

from tests.functional.conftest import mariadb  # noqa: F401
from tests.functional.conftest import mariadb_server  # noqa: F401
from tests.functional.conftest import rabbitmq  # noqa: F401
from tests.functional.conftest import rabbitmq_server  # noqa: F401
