# SPDX-License-Identifier: Apache-2.0

"""What makes a document for admins a page for people.

A page is one answer that loads nothing else: style and script are in it, and
the Content-Security-Policy allows only these two, by their digests.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from typing import Any

import jinja2
import markupsafe

from healthcheck.admin.views import plain
from healthcheck.answers import page

Document = dict[str, Any]

_STYLE, _SCRIPT = 'page.css', 'page.js'


@functools.cache
def headers() -> page.Headers:
    """What a browser may do with a page: next to nothing."""
    return (
        ('Content-Security-Policy', '; '.join((
            "default-src 'none'", f"script-src '{_digest(_SCRIPT)}'",
            f"style-src '{_digest(_STYLE)}'", 'img-src data:',
            "connect-src 'self'", "base-uri 'none'", "form-action 'none'",
            "frame-ancestors 'none'"))),
        ('Referrer-Policy', 'no-referrer'),
        ('X-Frame-Options', 'DENY'))


def render(template: str, document: Document, headline: str, interval: float,
           **more: Any) -> str:
    """A page.

    :param template: its name
    :param interval: seconds between its updates
    :param more: what this template needs in addition
    """
    return _template(template).render(
        document=document, headline=headline, interval=max(1.0, interval),
        **more)


@functools.cache
def _part(name: str) -> str:
    environment = _environment()
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


def _digest(name: str) -> str:
    """The Content-Security-Policy's name for a style or a script."""
    digest = hashlib.sha256(_part(name).encode()).digest()
    return f'sha256-{base64.b64encode(digest).decode()}'


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__), autoescape=True,
        undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True)
    environment.filters.update(
        ago=plain.ago, span=plain.span, clock=plain.clock)
    return environment


@functools.cache
def _template(name: str) -> jinja2.Template:
    return _environment().get_template(name, globals={
        'style': markupsafe.Markup(_part(_STYLE)),
        'script': markupsafe.Markup(_part(_SCRIPT))})
