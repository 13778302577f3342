#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.

"""Real servers, private to a test run, that can be made to misbehave."""

from tests.functional.servers.galera import GaleraNode
from tests.functional.servers.haproxy import HAProxy
from tests.functional.servers.keystone import Keystone
from tests.functional.servers.mariadb import MariaDB
from tests.functional.servers.network import RefusedPort
from tests.functional.servers.network import Relay
from tests.functional.servers.network import SilentListener
from tests.functional.servers.pgbouncer import PgBouncer
from tests.functional.servers.postgresql import PostgreSQL
from tests.functional.servers.process import free_port
from tests.functional.servers.process import ServerError
from tests.functional.servers.process import wait_until
from tests.functional.servers.rabbitmq import RabbitMQ

__all__ = ['GaleraNode', 'HAProxy', 'Keystone', 'MariaDB', 'PgBouncer',
           'PostgreSQL', 'RabbitMQ', 'RefusedPort', 'Relay', 'ServerError',
           'SilentListener', 'free_port', 'wait_until']
