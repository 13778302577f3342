# SPDX-License-Identifier: Apache-2.0

"""What functions of a service say about a check."""

import asyncio
import inspect
import sys
import threading

import pytest

import healthcheck
from healthcheck.evidence import ledger as ledger_module
from healthcheck.evidence import observing
from healthcheck.evidence import request
from healthcheck.probing import evidence


class StoreError(Exception):
    """The store is at fault."""


class NotFound(StoreError):
    """The caller is."""


@pytest.fixture
def ledger():
    made = ledger_module.Ledger()
    observing.listen(made, ['store'])
    yield made
    observing.ignore(made)


@pytest.fixture
def found(ledger):
    """(calls that worked, whether one has failed)"""
    def found(name='store'):
        seen = ledger.read().seen(evidence.check_mark(name))
        return seen.calls, seen.failed_at > 0
    return found


def observed(act):
    return healthcheck.observe('store', failures=StoreError,
                               ignore=NotFound)(act)


def run(kind, act):
    """Run ``act`` inside a function of a kind, observed."""
    if kind == 'plain':
        return observed(act)()
    if kind == 'method':
        class Store:
            @observed
            def fetch(self):
                return act()
        return Store().fetch()
    if kind == 'generator':
        def generator():
            yield 1
            return act()
        return list(observed(generator)())
    if kind == 'coroutine':
        async def coroutine():
            await asyncio.sleep(0)
            return act()
        return asyncio.run(observed(coroutine)())
    if kind == 'asynchronous generator':
        async def generator():
            yield 1
            act()

        async def consume():
            return [item async for item in observed(generator)()]
        return asyncio.run(consume())
    with healthcheck.observe('store', failures=StoreError, ignore=NotFound):
        return act()


KINDS = pytest.mark.parametrize('kind', [
    'plain', 'method', 'generator', 'coroutine', 'asynchronous generator',
    'context'])


def raise_(exc):
    raise exc


@KINDS
def test_one_that_ends_well(kind, found):
    run(kind, lambda: None)
    assert found() == (1, False)


@KINDS
def test_one_that_fails_is_raised_again(kind, found):
    exc = StoreError()
    with pytest.raises(StoreError) as raised:
        run(kind, lambda: raise_(exc))
    assert raised.value is exc
    assert found() == (0, True)


@KINDS
@pytest.mark.parametrize('exc', [NotFound(), ValueError()])
def test_what_is_not_its_fault_says_nothing(kind, exc, found):
    with pytest.raises(type(exc)):
        run(kind, lambda: raise_(exc))
    assert found() == (0, False)


@KINDS
def test_where_no_such_check_is_configured_nothing_is_written(kind, ledger):
    observing.ignore(ledger)
    run(kind, lambda: None)
    with pytest.raises(StoreError):
        run(kind, lambda: raise_(StoreError()))
    seen = ledger.read().seen(evidence.check_mark('store'))
    assert seen.calls == 0 and seen.failed_at < 0


def test_what_it_returns_is_returned(found):
    assert run('plain', lambda: 5) == 5
    assert run('generator', lambda: 5) == [1]
    assert run('coroutine', lambda: 5) == 5


def test_what_is_sent_to_a_generator_arrives(found):
    def generator():
        got = yield 1
        yield got
    going = observed(generator)()
    assert next(going) == 1
    assert going.send('x') == 'x'


def test_a_generator_that_is_closed_early_says_nothing(found):
    def generator():
        yield 1
        yield 2
    going = observed(generator)()
    next(going)
    going.close()
    assert found() == (0, False)


def test_a_function_stays_what_it_was():
    async def coroutine():
        """Its text."""

    def generator():
        yield
    assert inspect.iscoroutinefunction(observed(coroutine))
    assert inspect.isgeneratorfunction(observed(generator))
    assert observed(coroutine).__doc__ == 'Its text.'


def test_one_call_inside_another(found):
    @observed
    def fetch(deep):
        if deep:
            fetch(deep - 1)
    fetch(3)
    assert found() == (4, False)


def test_calls_in_many_threads(found):
    together = threading.Barrier(8)

    @observed
    def fetch():
        together.wait()
    threads = [threading.Thread(target=fetch) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found()[0] > 0


def test_a_failure_for_an_anonymous_caller_sets_off_nothing(found):
    @request.serves
    def serve(environ):
        run('plain', lambda: raise_(StoreError()))
    with pytest.raises(StoreError):
        serve({'HTTP_X_AUTH_TOKEN': 'x'})
    assert found() == (0, False)


def test_each_section_hears_of_it(ledger, found):
    other = ledger_module.Ledger()
    observing.listen(other, ['store'])
    run('plain', lambda: None)
    observing.ignore(other)
    run('plain', lambda: None)
    assert found() == (2, False)
    assert other.read().seen(evidence.check_mark('store')).calls == 1


def test_sections_that_begin_at_the_same_time_all_hear_of_it():
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(100):
            ledgers = [ledger_module.Ledger() for _ in range(8)]
            together = threading.Barrier(8)

            def begin(ledger):
                together.wait()
                observing.listen(ledger, ['many'])
            threads = [threading.Thread(target=begin, args=(one,))
                       for one in ledgers]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            with healthcheck.observe('many'):
                pass
            calls = [one.read().seen(evidence.check_mark('many')).calls
                     for one in ledgers]
            for one in ledgers:
                observing.ignore(one)
            assert calls == [1] * 8
    finally:
        sys.setswitchinterval(interval)


@pytest.mark.parametrize('failures', [(), (StoreError, OSError)])
def test_several_kinds_of_failures(failures, found):
    with pytest.raises(OSError):
        with healthcheck.observe('store', failures=failures):
            raise OSError
    assert found() == (0, bool(failures))


def test_any_exception_is_a_failure_by_default(found):
    with pytest.raises(ValueError):
        with healthcheck.observe('store'):
            raise ValueError
    assert found() == (0, True)


def test_the_end_of_the_process_is_none(found):
    with pytest.raises(KeyboardInterrupt):
        with healthcheck.observe('store'):
            raise KeyboardInterrupt
    assert found() == (0, False)
