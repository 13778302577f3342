# SPDX-License-Identifier: Apache-2.0

"""A private RabbitMQ, with an epmd of its own."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import json
import os
import pathlib
import re
import subprocess
import threading
from urllib import parse

from tests.functional.servers import process

# Not the scripts in sbin: those insist on root and one system-wide account.
DIRECTORY = '/usr/lib/rabbitmq/bin'
PACKAGE = 'rabbitmq-server'

# rabbitmqctl takes a second to start, so a small Erlang node stays connected
# to the server instead. It reads an expression per line, has the server
# evaluate it, and answers in one line: "ok" or "error", and the value.
CONSOLE = r'''
Loop = fun(Loop) ->
    case io:get_line("") of
        eof -> halt(0);
        Line ->
            Answer = try
                {ok, Tokens, _} = erl_scan:string(Line),
                {ok, Expressions} = erl_parse:parse_exprs(Tokens),
                case rpc:call('rabbit@localhost', erl_eval, exprs,
                              [Expressions, []], 20000) of
                    {value, Value, _} -> {"ok", Value};
                    Problem -> {"error", Problem}
                end
            catch _:Reason -> {"error", Reason} end,
            {Word, Term} = Answer,
            io:format("~s ~0tp~n", [Word, Term]),
            Loop(Loop)
    end
end, io:setopts([{encoding, unicode}]), Loop(Loop).
'''


class RabbitMQ(process.Server):
    """A RabbitMQ server of one node."""

    name = 'rabbitmq'

    def __init__(self) -> None:
        super().__init__()
        self.epmd = Epmd()
        self.distribution_port = process.free_port()
        self.blocked = False
        self._console: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def prepare(self) -> None:
        # The classic configuration format saves over a second: reading the
        # new one means compiling its schema at every start.
        (self.directory / 'rabbitmq.config').write_text(
            '[{rabbit, [{tcp_listeners, [{"%s", %d}]},'
            ' {num_tcp_acceptors, 2},'
            ' {loopback_users, []},'
            ' {default_pass, <<"guest">>},'
            ' {log, [{console, [{enabled, true}]},'
            ' {file, [{file, false}]}]}]}].\n' % (self.host, self.port))
        (self.directory / 'plugins').write_text('[].\n')
        cookie = self.directory / '.erlang.cookie'
        cookie.write_text(f'cookie-{self.port}')
        cookie.chmod(0o400)
        owner = self.directory.stat()
        os.chown(cookie, owner.st_uid, owner.st_gid)

    def command(self) -> list[str]:
        return [process.find_binary('rabbitmq-server', PACKAGE, DIRECTORY)]

    def environment(self) -> dict[str, str]:
        return {'ERL_EPMD_PORT': str(self.epmd.port),
                'ERL_EPMD_ADDRESS': self.host,
                'RABBITMQ_NODENAME': 'rabbit@localhost',
                'RABBITMQ_DIST_PORT': str(self.distribution_port),
                'RABBITMQ_MNESIA_BASE': str(self.directory / 'mnesia'),
                'RABBITMQ_LOG_BASE': str(self.directory / 'logs'),
                'RABBITMQ_CONFIG_FILE': str(self.directory / 'rabbitmq'
                                            '.config'),
                'RABBITMQ_ENABLED_PLUGINS_FILE': str(self.directory
                                                     / 'plugins'),
                # Nothing of the system's own server, please.
                'RABBITMQ_CONF_ENV_FILE': os.devnull,
                # The Erlang machine takes the place of the shell, and
                # signals reach it.
                'RUNNING_UNDER_SYSTEMD': 'true',
                'RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS':
                    '+S 1:1 +SDcpu 1:1 +A 2 -start_epmd false'
                    ' -kernel inet_dist_use_interface {127,0,0,1}'}

    def start(self) -> None:
        self.epmd.start()
        super().start()

    def ready(self) -> bool:
        # Past its boot, with every listener open.
        try:
            return self.eval('rabbit:is_running()'
                             ' andalso rabbit:await_startup() == ok'
                             ) == 'true'
        except process.ServerError:
            return False

    def disconnect(self) -> None:
        with self._lock:
            self._forget()

    def close(self) -> None:
        super().close()
        self.epmd.close()

    def heal(self) -> None:
        self.thaw()
        if self.blocked and self.running:
            self.unblock()
        super().heal()
        self.blocked = False

    def ctl(self, *arguments: str) -> str:
        """Run rabbitmqctl, which takes a second; return its output."""
        program = process.find_binary('rabbitmqctl', PACKAGE, DIRECTORY)
        return self.run([program, '--quiet', *arguments])

    def eval(self, expression: str) -> str:
        """Have the server evaluate Erlang; return the value as text."""
        with self._lock:
            if self._console is None:
                self._console = self._open_console()
            assert self._console.stdin and self._console.stdout
            try:
                self._console.stdin.write(f'{" ".join(expression.split())}.\n')
                self._console.stdin.flush()
                word, _, value = self._console.stdout.readline().partition(' ')
            except OSError as error:
                word, value = '', str(error)
            if not word:
                self._forget()
        if word != 'ok':
            raise process.ServerError(f'{expression}: {value.strip()}')
        return value.strip()

    def add_user(self, user: str, password: str) -> None:
        self.eval(f'ok = rabbit_auth_backend_internal:add_user({term(user)},'
                  f' {term(password)}, <<"bench">>)')

    def delete_user(self, user: str) -> None:
        self.eval('ok = rabbit_auth_backend_internal:delete_user('
                  f'{term(user)}, <<"bench">>)')

    def set_password(self, user: str, password: str) -> None:
        self.eval('ok = rabbit_auth_backend_internal:change_password('
                  f'{term(user)}, {term(password)}, <<"bench">>)')

    def set_permissions(self, user: str, vhost: str = '/', conf: str = '.*',
                        write: str = '.*', read: str = '.*') -> None:
        arguments = ', '.join(map(term, (user, vhost, conf, write, read)))
        self.eval('ok = rabbit_auth_backend_internal:set_permissions('
                  f'{arguments}, <<"bench">>)')

    def clear_permissions(self, user: str, vhost: str = '/') -> None:
        self.eval('ok = rabbit_auth_backend_internal:clear_permissions('
                  f'{term(user)}, {term(vhost)}, <<"bench">>)')

    def add_vhost(self, vhost: str) -> None:
        self.eval(f'ok = rabbit_vhost:add({term(vhost)}, <<"bench">>)')

    def delete_vhost(self, vhost: str) -> None:
        self.eval(f'rabbit_vhost:delete({term(vhost)}, <<"bench">>)')

    @contextlib.contextmanager
    def tls(self, certificate: pathlib.Path, key: pathlib.Path,
            ca: pathlib.Path, *, clients: bool = False) -> Iterator[int]:
        """Listen with TLS as well, for a time, on the port that is given.

        :param clients: whether these must show a certificate of ``ca``
        """
        port = process.free_port()
        # The server's own account reads them, and remembers by name what
        # was in them.
        files = []
        for path in (certificate, key, ca):
            files.append(self.directory / f'{port}-{path.name}')
            files[-1].write_bytes(path.read_bytes())
            files[-1].chmod(0o644)
        address = f'{{"{self.host}", {port}}}'
        verify = 'verify_peer' if clients else 'verify_none'
        # With TLS 1.3 a client learns late, and not always, that its
        # certificate is refused: it may find the connection closed first.
        versions = "'tlsv1.2'" if clients else "'tlsv1.2', 'tlsv1.3'"
        self.eval('application:ensure_all_started(ssl)')
        self.eval(
            f'rabbit_networking:start_ssl_listener({address}, '
            f'[{{certfile, "{files[0]}"}}, {{keyfile, "{files[1]}"}}, '
            f'{{cacertfile, "{files[2]}"}}, {{verify, {verify}}}, '
            f'{{fail_if_no_peer_cert, {str(clients).lower()}}}, '
            f'{{versions, [{versions}]}}], 1)')
        try:
            yield port
        finally:
            self.eval('[supervisor:terminate_child(rabbit_sup, Id) || '
                      '{Id, _, _, _} <- supervisor:which_children(rabbit_sup)'
                      f', Id =:= {{rabbit_tcp_listener_sup, {address}}}]')

    def stop_vhost(self, vhost: str) -> None:
        """Stop a virtual host that stays in the list, as a crash does."""
        self.eval('ok = rabbit_vhost_sup_sup:stop_and_delete_vhost('
                  f'{term(vhost)})')

    def start_vhost(self, vhost: str) -> None:
        self.eval(f'{{ok, _}} = rabbit_vhost_sup_sup:start_vhost('
                  f'{term(vhost)})')

    def limit_vhost(self, vhost: str, connections: int) -> None:
        """:param connections: how many there may be; -1: any number"""
        self.eval(f'ok = rabbit_vhost_limit:set({term(vhost)}, '
                  f'[{{<<"max-connections">>, {connections}}}], <<"bench">>)')

    def limit_user(self, user: str, *, connections: int = -1,
                   channels: int = -1) -> None:
        """:param connections: how many there may be; -1: any number"""
        limits = json.dumps({'max-connections': connections,
                             'max-channels': channels})
        self.eval('ok = rabbit_auth_backend_internal:set_user_limits('
                  f'{term(user)}, {term(limits)}, <<"bench">>)')

    def declare_exchange(self, vhost: str, exchange: str, *,
                         kind: str = 'topic', durable: bool = False) -> None:
        self.eval(f'rabbit_exchange:declare({resource(vhost, exchange)},'
                  f' {kind}, {str(durable).lower()}, false, false, [],'
                  ' <<"bench">>)')

    def delete_exchange(self, vhost: str, exchange: str) -> None:
        self.eval(f'ok = rabbit_exchange:delete({resource(vhost, exchange)},'
                  ' false, <<"bench">>)')

    def block(self) -> None:
        """Raise the memory alarm: publishers are no longer listened to."""
        self.blocked = True
        self._watermark('0.0000001')
        process.wait_until(lambda: self.alarms, 'memory alarm in force')

    def unblock(self) -> None:
        self._watermark('0.4')
        process.wait_until(lambda: not self.alarms, 'memory alarm cleared')
        self.blocked = False

    @property
    def alarms(self) -> bool:
        return self.eval('rabbit_alarm:get_alarms()') != '[]'

    def connections(self) -> int:
        return int(self.eval('length(rabbit_networking:connections())'))

    def close_connections(self) -> None:
        """Have the server close every connection, as an operator can."""
        self.eval('rabbit_networking:close_all_connections("bench")')

    def queues(self, vhost: str = '/') -> list[str]:
        return self._names('rabbit_amqqueue:list_names', vhost)

    def exchanges(self, vhost: str = '/') -> list[str]:
        """Return the exchanges that did not come with the server."""
        return [name for name in self._names('rabbit_exchange:list_names',
                                             vhost)
                if name and not name.startswith('amq.')]

    def published(self) -> int:
        """Return how many messages the server has ever received."""
        return int(self.eval(
            'lists:sum([maps:get(messages_received_total, Counters, 0) ||'
            ' {[{protocol, _}], Counters} <-'
            ' maps:to_list(rabbit_global_counters:overview())])'))

    def url(self, user: str, password: str, vhost: str = '/',
            hosts: Sequence[tuple[str, int]] | None = None) -> str:
        """Return a transport URL, for several hosts too."""
        credentials = (f'{parse.quote(user, safe="")}'
                       f':{parse.quote(password, safe="")}')
        places = ','.join(f'{credentials}@{host}:{port}' for host, port
                          in hosts or [(self.host, self.port)])
        return f'rabbit://{places}/{parse.quote(vhost, safe="")}'

    def _names(self, function: str, vhost: str) -> list[str]:
        # list_names takes no virtual host before 3.13, and resources print
        # as {resource,<<"vhost">>,kind,<<"name">>}.
        value = self.eval(
            '[binary_to_list(Name) || {resource, Host, _, Name} <-'
            f' {function}(), Host =:= {term(vhost)}]')
        return sorted(re.findall(r'"((?:[^"\\]|\\.)*)"', value))

    def _watermark(self, fraction: str) -> None:
        self.eval('vm_memory_monitor:set_vm_memory_high_watermark('
                  f'{fraction})')

    def _open_console(self) -> subprocess.Popen[str]:
        program = process.find_binary('erl', 'erlang-base')
        return subprocess.Popen(
            self._unprivileged([
                program, '-noshell', '-hidden', '-start_epmd', 'false',
                '-sname', 'bench@localhost', '-eval', CONSOLE]),
            **(self._surroundings() | {
                'stdin': subprocess.PIPE, 'stdout': subprocess.PIPE,
                'stderr': subprocess.STDOUT, 'text': True}))

    def _forget(self) -> None:
        if self._console is not None:
            self._console.kill()
            self._console.communicate()
            self._console = None


class Epmd(process.Server):
    """The daemon that tells Erlang nodes where other nodes listen."""

    name = 'epmd'

    def command(self) -> list[str]:
        program = process.find_binary('epmd', 'erlang-base')
        return [program, '-port', str(self.port), '-address', self.host]

    def ready(self) -> bool:
        program = process.find_binary('epmd', 'erlang-base')
        try:
            self.run([program, '-port', str(self.port), '-names'])
        except process.ServerError:
            return False
        return True


def term(text: str) -> str:
    """Return a string as an Erlang binary, whatever is in it."""
    return f'<<{",".join(map(str, text.encode()))}>>'


def resource(vhost: str, exchange: str) -> str:
    """Return the name by which the server knows an exchange."""
    return f'rabbit_misc:r({term(vhost)}, exchange, {term(exchange)})'
