# SPDX-License-Identifier: Apache-2.0

"""Real servers, private to a test run, that can be made to misbehave."""

from tests.functional.servers.etcd import Etcd
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
from tests.functional.servers.redis import Redis

__all__ = ['Etcd', 'GaleraNode', 'HAProxy', 'Keystone', 'MariaDB',
           'PgBouncer', 'PostgreSQL', 'RabbitMQ', 'Redis', 'RefusedPort',
           'Relay', 'ServerError', 'SilentListener', 'free_port',
           'wait_until']
