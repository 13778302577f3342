# SPDX-License-Identifier: Apache-2.0

"""What the service answers, and for whom."""

import pytest

from healthcheck.evidence import request
from healthcheck.evidence import responses

VOUCHED = {'keystone.token_info': {}}


class Service:
    """An application that answers what the test says."""

    def __init__(self):
        self.answer = '200 OK'
        self.vouches = True
        self.noted = self.begun = 0
        self.during = []
        self.door = responses.Responses(self, self.begin, self.note)

    def __call__(self, environ, start_response):
        self.during.append((request.current(), request.counts()))
        if self.vouches:
            environ.update(VOUCHED)  # as auth_token does, below our filter
        if isinstance(self.answer, Exception):
            raise self.answer
        write = start_response(self.answer, [('X-A', 'b')])
        write(b'c')
        return [b'd']

    def note(self):
        self.noted += 1

    def begin(self, environ):
        self.begun += 1

    def ask(self, environ=None, told=None):
        told = [] if told is None else told

        def start_response(*args):
            told.append(args)
            return told.append
        return self.door({} if environ is None else environ, start_response)


@pytest.fixture
def service():
    return Service()


@pytest.mark.parametrize('answer, noted', [
    ('200 OK', 0), ('404 Not Found', 0), ('401 Unauthorized', 0),
    ('500 Internal Server Error', 1), ('502 Bad Gateway', 1),
    ('503 Service Unavailable', 1), ('504 Gateway Timeout', 1),
    ('501 Not Implemented', 0)])
@pytest.mark.parametrize('vouches', [True, False])
def test_faults_of_requests_that_are_vouched_for(service, answer, noted,
                                                 vouches):
    service.answer, service.vouches = answer, vouches
    told = []
    assert service.ask(told=told) == [b'd']
    assert told == [(answer, [('X-A', 'b')]), b'c']
    assert service.noted == (noted if vouches else 0)


@pytest.mark.parametrize('vouches', [True, False])
def test_an_exception_is_raised_again(service, vouches):
    service.answer, service.vouches = KeyError('x'), vouches
    with pytest.raises(KeyError):
        service.ask()
    assert service.noted == vouches
    assert request.current() is None


def test_auth_token_may_run_in_front(service):
    service.vouches, service.answer = False, '500 Oh'
    service.ask(dict(VOUCHED))
    assert service.noted == 1


@pytest.mark.parametrize('name', [
    'HTTP_KEYSTONE.TOKEN_INFO', 'HTTP_KEYSTONE_TOKEN_INFO',
    'HTTP_X_IDENTITY_STATUS'])
def test_a_header_vouches_for_nobody(service, name):
    service.vouches, service.answer = False, '500 Oh'
    service.ask({name: 'Confirmed'})
    assert service.noted == 0


def test_what_is_met_meanwhile_belongs_to_the_request(service):
    service.vouches = False
    environ = {}
    service.ask(environ)
    assert service.during[0][0] is environ
    assert service.during[0][1] is False
    assert request.current() is None
    assert request.counts()


def test_the_first_request_of_a_process_begins(service):
    for _ in range(3):
        service.ask()
    assert service.begun == 1


def test_exc_info_is_handed_on(service):
    told = []

    def application(environ, start_response):
        start_response('200 OK', [])
        start_response('500 Oh', [], (None, None, None))
        return []
    door = responses.Responses(application, service.begin, service.note)
    door(dict(VOUCHED), lambda *args: told.append(args))
    assert told == [('200 OK', []), ('500 Oh', [], (None, None, None))]
    assert service.noted == 1
