"""What a template cannot do: reach out, change anything, run for ever, grow without bound."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vanta.errors import TemplateError
from vanta.prompts import RenderLimits, Templates

FIFTY = 50


def render(folder: Path, body: str, limits: RenderLimits | None = None, **given: object) -> str:
    (folder / "t.j2").write_text(body, encoding="utf-8")
    return Templates([folder], limits=limits or RenderLimits()).render("t", given)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("{% for n in range(3) %}{{ loop.index }}/{{ loop.length }} {% endfor %}", "1/3 2/3 3/3 "),
        ("{% for n in [1, 2] %}{{ loop.cycle('a', 'b') }}{% endfor %}", "ab"),
        ("{% for k, v in {'a': 1}.items() %}{{ k }}{{ v }}{% else %}-{% endfor %}", "a1"),
        (("{% for x in [[1], [2, 3]] recursive %}{{ loop(x) if x is iterable else x }}"
         "{% endfor %}"), "123"),
        (("{% macro m(x) %}<{{ x }}{{ caller() }}>{% endmacro %}"
         "{% call m('a') %}!{% endcall %}"), "<a!>"),
        (("{% set ns = namespace(n=0) %}{% for i in range(4) %}{% set ns.n = ns.n + i %}"
         "{% endfor %}{{ ns.n }}"), "6"),
        ("{% set a %}x{{ 1 }}{% endset %}{{ a ~ '-' ~ 2.5 }}", "x1-2.5"),
        ("{% with a = 'x' %}{{ a + 'y' }} {{ 2 * 3 - 1 }} {{ 7 // 2 }} {{ 7 % 4 }}{% endwith %}",
         "xy 5 3 3"),
        ("{{ ['b', 'a']|sort|join(', ') }} {{ 'a b'.split() }} {{ 'a-b'|replace('-', '+') }}",
         "a, b ['a', 'b'] a+b"),
        ("{{ 'a\nb'|indent(2) }} {{ 'a'|indent(2, first=true) }}", "a\n  b   a"),
        ("{{ {'k': 'é'}|tojson }} {{ 1.25|round(1) }} {{ 3|string }}", '{"k": "é"} 1.2 3'),
        ("{{ [{'n': 1}, {'n': 2}]|map(attribute='n')|list }}{{ ['x']|map('upper')|join }}",
         "[1, 2]X"),
        ("{% filter upper %}abc{% endfilter %}{{ none|default('d', true) }}", "ABCd"),
    ],
)  # fmt: skip
def test_what_prompts_need_works(body: str, text: str, tmp_path: Path) -> None:
    assert render(tmp_path, body) == text


@pytest.mark.parametrize(
    "body",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ ().__class__.__base__.__subclasses__() }}",
        "{{ ''|attr('__class__') }}",
        "{{ ['']|map(attribute='__class__')|join }}",
        "{{ self.__init__.__globals__ }}",
        "{{ self._TemplateReference__context }}",
        "{{ range.__globals__ }}",
        "{{ namespace.__init__.__globals__ }}",
        "{{ cycler.__init__.__globals__.os }}",
        "{{ lipsum(9) }}",
        "{{ ''['__class__'] }}",
        "{% macro m() %}{% endmacro %}{{ m._func.__globals__ }}",
        "{{ loop.__class__ }}",
        "{{ '{0.__class__}'.format(1) }}",
        "{{ '%s' % ''.__class__ }}",
        "{{ 'a'.encode().__class__ }}",
        "{{ given.append(2) }}",
        "{{ given.clear() }}",
        "{{ mapping.update({'a': 2}) }}",
        "{% include '/etc/passwd' %}",
        "{% include '../outside' %}",
        "{% set name = '..' ~ '/outside' %}{% include name %}",
        "{% import 't' as m %}{{ m }}",
        "{{ open('/etc/passwd') }}",
    ],
)
def test_no_way_leads_out_of_the_sandbox(body: str, tmp_path: Path) -> None:
    (tmp_path / "outside.j2").write_text("secret")
    folder = tmp_path / "in"
    folder.mkdir()
    values: dict[str, Any] = {"given": [1], "mapping": {"a": 1}}
    with pytest.raises(TemplateError):
        render(folder, body, **values)
    assert values == {"given": [1], "mapping": {"a": 1}}


@pytest.mark.parametrize(
    "body",
    [
        "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}",
        (
            "{% for a in range(9999)|list %}{% for b in range(9999)|map('string') %}{% endfor %}"
            "{% endfor %}"
        ),
        (
            "{% for x in [1] recursive %}{% if loop.depth < 9 %}{{ loop(range(9999)) }}{% endif %}"
            "{% endfor %}"
        ),
        (
            "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}"
            "{{ f(60) }}"
        ),
    ],
)
def test_endless_work_is_stopped_and_said(body: str, tmp_path: Path) -> None:
    threads = set(threading.enumerate())
    with pytest.raises(TemplateError, match=r"takes more than 200000 steps\. Is there an endless"):
        render(tmp_path, body, RenderLimits(seconds=60))
    assert set(threading.enumerate()) - threads == set(), "threads of other tests may end meanwhile"


def test_time_is_up_at_the_deadline(tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match=r"takes more than 0 s\. Is there an endless loop\?"):
        render(tmp_path, "{% for a in [1] %}{% endfor %}", RenderLimits(seconds=0))


@pytest.mark.parametrize(
    "body",
    [
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% include 't' %}",
        "{% include 't' %}{% include 't' %}",
        "{% extends 't' %}",
        "{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}",
    ],
)
def test_endless_nesting_is_stopped_and_said(body: str, tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match="is nested too deeply, or includes or calls itself"):
        render(tmp_path, body)


@pytest.mark.parametrize(
    "body",
    [
        "{% set a = 'xxxxxxxx' %}" + "{% set a = a ~ a %}" * FIFTY,
        "{% set a = 'xxxxxxxx' %}" + "{% set a = a + a %}" * FIFTY,
        "{% set a = 'xxxxxxxx' %}" + "{% set a %}{{ a }}{{ a }}{% endset %}" * FIFTY,
        "{% set a = [1] %}" + "{% set a = [a, a] %}" * FIFTY,
        "{% set a = [1] %}" + "{% with a = [a, a] %}" * 15 + "{{ a }}" + "{% endwith %}" * 15,
        "{% set a = 'xx' %}" + "{% set a = a|replace('x', 'xxxxxxxx') %}" * FIFTY,
        "{% set a = 'x' %}" + "{% set a = [a, a]|join(a) %}" * FIFTY,
        "{{ 'a\nb'|indent(999999999) }}",
        "{% macro m(a) %}{{ a }}{{ a }}{% endmacro %}{{ m(m(m(m(m('" + "x" * 60_000 + "'))))) }}",
    ],
)  # fmt: skip
def test_what_would_grow_without_bound_is_stopped_and_said(body: str, tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match="makes a value of more than 1000000 bytes"):
        render(tmp_path, body)


def test_all_values_together_are_bounded(tmp_path: Path) -> None:
    body = "{% for n in range(9000) %}{% set b = a ~ n %}{% endfor %}"
    with pytest.raises(TemplateError, match="makes values of more than 100000000 bytes in total"):
        render(tmp_path, body, a="x" * 20_000)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("{{ 10 ** 10 ** 10 }}", "calculates with powers or numbers beyond 2**63"),
        ("{{ (9999999999 * 9999999999) * 2 }}", "calculates with powers or numbers beyond"),
        ("{{ 'a' * 100 }}", "uses '*' on something that is not a number"),
        ("{{ [1] * 100 }}", "uses '*' on something that is not a number"),
        ("{{ '%0999999999d' % 3 }}", "uses '%' on something that is not a number"),
        ("{% for x in range(100000) %}{% endfor %}", "a range of more than 10000 numbers"),
        ("{{ 1.5|round(999999) }}", "rounds to more than 15 digits"),
        ("{{ 'a'|center(99) }}", "No filter named 'center'"),
        ("{{ 'a'.ljust(99) }}", "access to attribute 'ljust' of 'str' object is unsafe"),
        ("{{ ['a']|map('upper') }}", "writes a generator, which is not text"),
        ("{{ 1 / 0 }}", "failed: ZeroDivisionError: division by zero"),
        ("{% if %}", "Expected an expression, got 'end of statement block'"),
    ],
)
def test_every_refusal_is_said(body: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(TemplateError) as caught:
        render(tmp_path, f"\n{body}")
    assert problem in str(caught.value)
    assert f"template 't' ({tmp_path / 't.j2'}:2)" in str(caught.value)


def test_the_output_has_its_limit(tmp_path: Path) -> None:
    limits = RenderLimits(characters=40)
    assert render(tmp_path, "{{ a }}{{ a }}", limits, a="x" * 20) == "x" * 40
    with pytest.raises(TemplateError, match="makes a text of more than 250000 characters"):
        render(tmp_path, "{% for x in range(9999) %}" + "y" * FIFTY + "{% endfor %}")
    with pytest.raises(TemplateError, match="makes a text of more than 40 characters"):
        render(tmp_path, "{{ a }}{{ a }}", limits, a="x" * 21)


@given(st.text(alphabet="{}%|~+*()[]'. abfor_incsetx1\n", max_size=60))
def test_whatever_a_body_says_only_template_errors_come(body: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        try:
            text = render(Path(folder), body, a=1, b="x", x=[1])
        except TemplateError as error:
            text = str(error)
    assert isinstance(text, str)
