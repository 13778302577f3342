# SPDX-License-Identifier: Apache-2.0

"""No secret, in any spelling, for any number of hosts."""

from urllib import parse

from hypothesis import given
from hypothesis import strategies as st
import pytest

from healthcheck.config import redact

PASSWORDS = st.text(
    st.sampled_from('abcXYZ0189@/%:#?&=+,;~ é"\'\\'), min_size=4,
    max_size=20).filter(lambda text: len(set(text)) > 2)


def quoted(password):
    return parse.quote(password, safe='')


@given(PASSWORDS, PASSWORDS)
def test_every_host_of_a_url_and_every_spelling(one, two):
    url = (f'rabbit://u:{quoted(one)}@host1:5672,'
           f'v:{quoted(two)}@host2:5672/vhost')
    hide = redact.Redactor(url)
    for secret in (one, two):
        for spelling in (secret, quoted(secret), parse.quote(secret),
                         parse.quote_plus(secret), repr(secret)[1:-1]):
            shown = hide(f'cannot reach <{spelling}>')
            assert shown == f'cannot reach <{redact.MASK}>'
    assert 'host1' in hide('host1 is down')


@given(PASSWORDS)
def test_a_password_that_was_not_encoded(password):
    url = f'mysql+pymysql://user:{password}@db.example/nova'
    hide = redact.Redactor(url)
    assert password not in hide(f'cannot parse {url}')
    assert password not in hide(f'no such host: {password}')


@pytest.mark.parametrize('text', [
    'amqp://u:sesame@h//', 'mysql+pymysql://u:sesame@h/db?charset=utf8',
    'x rabbit://u:sesame@h1,v:sesame@h2/ y', "password='sesame'",
    '"password": "sesame"', 'postgresql://u:se/same@h/db'])
def test_what_looks_like_credentials(text):
    assert 'same' not in redact.Redactor()(text)


def test_a_secret_in_the_query():
    hide = redact.Redactor('mysql://h/db?ssl_key_password=sesame&charset=utf8')
    assert hide('sesame utf8') == f'{redact.MASK} utf8'


@pytest.mark.parametrize('name', [
    'sslkey', 'ssl_key', 'ssl_key_file', 'key_file', 'ssl_keyfile',
    'passfile'])
def test_the_path_of_a_file_is_no_secret(name):
    hide = redact.Redactor(f'postgresql://h/db?{name}=/etc/ssl/nova.pem')
    line = '/etc/ssl/nova.pem: No such file or directory'
    assert hide(line) == line


@pytest.mark.parametrize('name', [
    'sslpassword', 'ssl_key_password', 'key', 'api_key', 'secret_key'])
def test_all_else_that_is_called_so_is_one(name):
    hide = redact.Redactor(f'postgresql://h/db?{name}=sesame')
    assert 'sesame' not in hide(f'{name} sesame')


@given(st.text(st.sampled_from('aeT10/_:é\'\\'), min_size=1, max_size=2))
def test_a_short_secret_where_a_driver_prints_it(secret):
    url = f'rabbit://u:{quoted(secret)}@h.example:5672/vhost'
    hide = redact.Redactor(url)
    for before, after in [
            ('mysql://u:', '@h/db'), ('u:', '@h.example'), ("as '", "'"),
            ('as "', '"'), ('password=', ' host=h'), ("('u', '", "')"),
            ('no such host: ', ''), ('no such host: ', '.'), ('(', ')'),
            ('[', ', 9]')]:
        for spelling in (secret, quoted(secret)):
            shown = hide(f'{before}{spelling}{after}')
            assert redact.MASK in shown
            assert f'{before}{spelling}{after}' not in shown
    assert 'connect to h.example' in hide('it cannot connect to h.example')


def test_a_short_secret_is_not_taken_out_of_words_and_addresses():
    hide = redact.Redactor('rabbit://u:a@h1,u:1@h2/')
    line = 'Name or service at 127.0.0.1:5671 cannot be had via x-a (110)'
    assert hide(line) == line


@pytest.mark.parametrize('piece', ['a', 'cd'])
def test_a_short_piece_of_a_password_that_was_cut_at_its_slash(piece):
    hide = redact.Redactor('rabbit://u:a%2Fcd@h/')
    assert piece not in hide(f"could not be cast as '{piece}'").split("'")


def test_one_line_of_bounded_length():
    hide = redact.Redactor()
    assert hide('two\n  lines\there') == 'two lines here'
    assert len(hide('x' * 10000)) == redact.MAX_LENGTH


def test_what_is_not_printable_is_escaped():
    assert redact.Redactor()('a\x1b[2K\u202eb\ud800') == (
        'a\\x1b[2K\\u202eb\\ud800')


def test_what_has_no_text_has_a_type():
    class Mute(Exception):
        def __str__(self):
            raise SystemExit
    assert redact.Redactor()(Mute()).endswith('.Mute')


def test_its_repr_holds_nothing():
    assert repr(redact.Redactor('rabbit://u:sesame@h/')) == '<Redactor>'
