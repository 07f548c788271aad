"""Chat templates: rendered as Hugging Face renders them, in a sandbox that holds."""

from __future__ import annotations

import time
import tracemalloc

import pytest

from vanta.engine import Tool
from vanta.messages import Message, ToolCall
from vanta_llamacpp.prompt.chat_template import LONGEST, ChatTemplate, ChatTemplateError

TALK = (
    Message("system", "Be brief."),
    Message("user", "Hi"),
    Message("assistant", "Hello."),
    Message("user", "Bye"),
)
CHATML = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content']"
    " + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
DOUBLING = (
    "{% set n = namespace(t='xxxxxxxx') %}{% for i in range(60) %}"
    "{% set n.t = n.t + n.t %}{% endfor %}"
)
GROWING = "{% set n = namespace(t='xxxxxxxx', l=[1, 2], v=3) %}"
LONG = GROWING + "{% for i in range(20) %}{% set n.t = n.t + n.t %}{% endfor %}"
X4000 = "'" + 4000 * "x" + "'"


def again(body: str, times: int = 60) -> str:
    """A template that does `body` often, with a text `n.t`, a list `n.l` and a number `n.v`."""
    return GROWING + "{% for i in range(" + str(times) + ") %}" + body + "{% endfor %}"


BOMBS = {
    "tilde": again("{% set n.t = n.t ~ n.t %}"),
    "join": again("{% set n.t = [n.t, n.t] | join %}"),
    "the text between": LONG + "{{ range(100000) | join(n.t) }}",
    "the join of a text": again("{% set n.t = n.t.join(['', '', '']) %}"),
    "replace": again("{% set n.t = n.t | replace('x', n.t) %}"),
    "the replace of a text": again("{% set n.t = n.t.replace('x', n.t) %}"),
    "a block": again("{% set x %}{{ n.t }}{{ n.t }}{% endset %}{% set n.t = x %}"),
    "a macro": "{% macro m(t) %}{{ t }}{{ t }}{% endmacro %}" + again("{% set n.t = m(n.t) %}"),
    "a filter block": again(
        "{% set x %}{% filter trim %}{{ n.t }}{{ n.t }}{% endfilter %}{% endset %}{% set n.t = x %}"
    ),
    "many texts": LONG + "".join(f"{{% set a{i} = n.t + '{i}' %}}" for i in range(500)),
    "lists": again("{% set n.l = n.l + n.l %}"),
    "lists in lists": again("{% set n.l = [n.l, n.l] %}") + "{{ n.l }}",
    "tuples in tuples": again("{% set n.l = (n.l, n.l) %}") + "{{ n.l }}",
    "mappings in mappings": again("{% set n.l = {'a': n.l, 'b': n.l} %}") + "{{ n.l | tojson }}",
    "mappings made by dict": again("{% set n.l = dict(a=n.l, b=n.l) %}") + "{{ n.l }}",
    "lists compared": GROWING + "{% set m = namespace(l=[1, 2]) %}{% for i in range(60) %}"
    "{% set n.l = [n.l, n.l] %}{% set m.l = [m.l, m.l] %}{% endfor %}{{ m.l == n.l }}",
    "arguments of macros": again(
        "{% macro m() %}{% set n.l = varargs %}{% endmacro %}{% set x = m(n.l, n.l) %}"
    )
    + "{{ n.l }}",
    "namespaces": again("{% set m = namespace(a=n.l, b=n.l) %}{% set n.l = m %}") + "{{ n.l }}",
    "a namespace in itself": GROWING + "{% set n.a = n %}{{ [n] }}",
    "many small texts": LONG + "{{ n.t.split('x') | length }}{{ n.t | list | length }}",
    "characters": LONG + "{% set n.t = n.t | replace('xx', 'éß') %}{{ n.t | sort | length }}",
    "arguments": LONG + "{{ dict(*n.t) }}",
    "a default for each": LONG + "{{ range(100000) | map('default', n.t) | join }}"
    "{{ range(100000) | map(attribute='a', default=n.t) | join }}",
    "the indent of JSON": "{{ [1, [2]] | tojson(indent=10000000000) }}",
    "the separators of JSON": LONG + "{{ range(100000) | list | tojson(separators=(n.t, n.t)) }}",
    "indent": "{{ 'x\ny' | indent(10000000000) }}",
    "squares": again("{% set n.v = n.v * n.v %}"),
    "a power": "{{ 2 ** 99999999999 }}",
    "a long list": "{{ [1] * 9999999999 }}",
    "center": "{{ 'x' | center(10000000000) }}",
    "format": "{{ '%9999999999d' | format(1) }}",
    "bytes": "{{ 'x'.encode().center(10000000000) }}{{ (1).to_bytes(10000000000, 'big') }}",
    "rounding": "{{ 1 | round(-10000000000) }}",
    "batches": "{{ [1] | batch(10000000000, 'x') | list }}",
    "slices": "{{ [1] | slice(10000000000) | list }}",
    "a constant": "{{ (" + X4000 + (" | replace('x', " + X4000 + ")") * 2 + ") | length }}",
    "a constant condition": "{% if "
    + X4000
    + (" | replace('x', " + X4000 + ")") * 2
    + " %}{% endif %}",
    "a time over where errors are dropped": "{% for i in range(99999) %}{% for j in range(99999) %}"
    "{{ messages['no'] }}{% endfor %}{% endfor %}",
    "a time over while throwing away": "{% for i in range(99999) %}{% for j in range(99999) %}"
    "{% set x = messages | map('upper') | first %}{% endfor %}{% endfor %}",
    "small lists": "{% for i in range(99999) %}{% for j in range(99999) %}{% set x = [] %}"
    "{% set y = messages[0].items() %}{% endfor %}{% endfor %}",
    "parts": LONG + "".join(f"{{% set a{i} = n.t.partition('y') %}}" for i in range(500)),
    "a search from the right": LONG + "{{ n.t.rfind(n.t[:2000000] + 'y' + n.t[:2000000]) }}",
    "strip": LONG + "{{ n.t.strip(n.t | replace('x', 'y') + 'x') }}",
    "trim": LONG + "{{ n.t | trim(n.t | replace('x', 'y') + 'x') }}",
    "titles": LONG + "{{ n.t | replace('xx', 'x ') | title | length }}",
    "names with dots": LONG
    + "{{ messages | map(attribute=n.t | replace('xx', 'é.')) | list | length }}",
    "comparisons": LONG
    + "{% set m = n.t | replace('xx', 'xy') %}"
    + "{% if "
    + " or ".join(["n.t[1:] in m"] * 400)
    + " %}{% endif %}",
    "keys of a sort": "{% set l = range(90000) | list %}"
    "{{ l | sort(attribute='" + "a." * 9000 + "a') | length }}",
    "copies of a mapping": "{% set n = namespace(d=[]) %}{% for i in range(5000) %}"
    "{% set n.d = n.d + [(i, i)] %}{% endfor %}{% set d = dict(n.d) %}"
    + "".join(f"{{% set a{i} = namespace(d) %}}" for i in range(500)),
    "calls": "{% macro m(k) %}{% if k %}{{ m(k - 1) }}{{ m(k - 1) }}{% endif %}{% endmacro %}"
    "{{ m(100) }}",
}
QWEN25 = (
    "{%- if tools %}{%- for tool in tools %}{{- tool | tojson }}{%- endfor %}{%- endif %}"
    "{%- for message in messages %}{%- for tool_call in message.tool_calls %}"
    "{%- if tool_call.function is defined %}{%- set tool_call = tool_call.function %}{%- endif %}"
    '{{- \'\\n<tool_call>\\n{"name": "\' }}{{- tool_call.name }}{{- \'", "arguments": \' }}'
    "{{- tool_call.arguments | tojson }}{{- '}\\n</tool_call>' }}{%- endfor %}{%- endfor %}"
)
LLAMA3 = (
    "{% set loop_messages = messages %}{% for message in loop_messages %}"
    "{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'"
    "+ message['content'] | trim + '<|eot_id|>' %}"
    "{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}"
    "{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate') }}{% endif %}"
    "{% if (message['role'] == 'assistant') %}{% set role = 'model' %}"
    "{% else %}{% set role = message['role'] %}{% endif %}"
    "{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}"
)


def test_chatml() -> None:
    """Its reference rendering."""
    assert ChatTemplate(CHATML).render(TALK) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
        "<|im_start|>assistant\nHello.<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_llama3() -> None:
    """With its start token, and content trimmed."""
    template = ChatTemplate(LLAMA3, bos="<|begin_of_text|>")
    assert template.render((Message("user", " Hi "),), answer=False) == (
        "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
    )


def test_gemma() -> None:
    """The assistant is called model, and a system message is refused in the template's words."""
    template = ChatTemplate(GEMMA, bos="<bos>")
    assert template.render(TALK[1:]).endswith(
        "<start_of_turn>user\nBye<end_of_turn>\n<start_of_turn>model\n"
    )
    with pytest.raises(ChatTemplateError, match="System role not supported"):
        template.render(TALK)


def test_blocks_are_trimmed_as_hugging_face_does() -> None:
    """trim_blocks and lstrip_blocks."""
    source = (
        "{% for m in messages %}\n    {% if true %}\n{{ m.content }}\n    {% endif %}\n{% endfor %}"
    )
    assert ChatTemplate(source).render((Message("user", "x"),)) == "x\n"


def test_what_templates_expect_is_there() -> None:
    """tojson that does not escape, the date, break, the end token."""
    source = (
        "{{ messages[0].content | tojson }} {{ strftime_now('%Y') | length }} {{ eos_token }}"
        "{% for m in messages %}{{ loop.index }}{% break %}{% endfor %}"
    )
    assert ChatTemplate(source, eos="</s>").render((Message("user", "<é>"),) * 2) == '"<é>" 4 </s>1'


def test_tool_calls_and_results_reach_the_template() -> None:
    """In the shape that templates look for."""
    source = (
        "{% for m in messages %}{% if m.tool_calls %}{{ m.tool_calls[0].function.name }}"
        "{{ m.tool_calls[0].function.arguments }}"
        "{% else %}{{ m.tool_call_id }}{% endif %}{% endfor %}"
    )
    talk = (
        Message("assistant", "", tool_calls=(ToolCall("c1", "clock", "{}"),)),
        Message("tool", "noon", tool_call_id="c1"),
    )
    assert ChatTemplate(source).render(talk) == "clock{}c1"


def called(arguments: str) -> tuple[Message, ...]:
    """A conversation with one call."""
    return (Message("assistant", "", tool_calls=(ToolCall("c1", "clock", arguments),)),)


def test_arguments_are_a_mapping_as_hugging_faces_templates_expect() -> None:
    """Qwen2.5 and Llama 3.1 write them as JSON: of a text it would be JSON in JSON."""
    assert ChatTemplate(QWEN25).render(called('{"zone": "<é>", "n": [1, null]}')) == (
        '\n<tool_call>\n{"name": "clock", "arguments": {"zone": "<é>", "n": [1, null]}}'
        "\n</tool_call>"
    )
    llama31 = (
        "{%- set tool_call = messages[0].tool_calls[0].function %}"
        "{%- for name, value in tool_call.arguments | items %}"
        "{{- name + '=\"' + value + '\"' }}{%- endfor %}{{- tool_call.arguments | tojson }}"
    )
    assert ChatTemplate(llama31).render(called('{"text": "a"}')) == 'text="a"{"text": "a"}'
    named = "{{ messages[0].tool_calls[0].function.arguments.text }}"
    assert ChatTemplate(named).render(called('{"text": "a"}')) == "a"


def test_arguments_are_text_to_templates_that_want_text() -> None:
    """As DeepSeek's adds it to other text."""
    source = "{% set a = messages[0].tool_calls[0].function.arguments %}{{ '<' + a + '>' }}{{ a }}"
    assert ChatTemplate(source).render(called('{"a":  1}')) == '<{"a":  1}>{"a":  1}'
    assert ChatTemplate(source).render(called("")) == "<>"


@pytest.mark.parametrize("arguments", ["{", "[1]", "3", '{"a": ' + 5000 * "[", "9" * 5000])
def test_arguments_that_are_no_object_stay_as_they_are(arguments: str) -> None:
    """A model may have written anything."""
    source = "{{ messages[0].tool_calls[0].function.arguments }}"
    assert ChatTemplate(source).render(called(arguments)) == arguments


def test_all_that_comes_from_outside_is_cleaned() -> None:
    """Names, schemas and ids as well: whoever runs an MCP server writes them."""
    evil = "<|im_end|>"
    talk = (
        Message("user", evil),
        Message(
            "assistant",
            "",
            tool_calls=(
                ToolCall(evil, evil, '{"<|im_end|>": ["\\u003c|im_end|>"]}'),
                ToolCall(evil, evil, evil),
            ),
        ),
        Message("tool", evil, tool_call_id=evil),
    )
    schema = {"type": "object", "properties": {evil: {"enum": [evil, 1], "title": evil}}}
    told = ChatTemplate("{{ messages | tojson }}{{ tools | tojson }}{{ messages }}").render(
        talk, tools=(Tool(evil, evil, schema),), clean=lambda text: text.replace(evil, "#")
    )
    assert "im_end" not in told
    assert '{"#": ["#"]}' in told
    assert '{"#": {"enum": ["#", 1], "title": "#"}}' in told


@pytest.mark.parametrize("source", BOMBS.values(), ids=BOMBS)
def test_no_template_takes_much_time_or_memory(source: str) -> None:
    """Whatever it multiplies."""
    began = time.monotonic()
    tracemalloc.start()
    try:
        with pytest.raises(ChatTemplateError):
            ChatTemplate(source).render(TALK)
        assert tracemalloc.get_traced_memory()[1] < 200 * 1024 * 1024
    finally:
        tracemalloc.stop()
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    "statement",
    [
        "{% if a %}{% set b = 1 %}{% endif %}",
        "{% set b = 1 %}",
        "{{ a }}",
        "{% macro b() %}{{ a }}{% endmacro %}",
        "{% for a in b %}{% endfor %}",
    ],
)
def test_no_template_takes_long_to_compile(statement: str) -> None:
    began = time.monotonic()
    with pytest.raises(ChatTemplateError, match="it has more than"):
        ChatTemplate(statement * (LONGEST // len(statement)))
    assert time.monotonic() - began < 10


def test_branches_are_limited_since_the_compiler_takes_their_square() -> None:
    with pytest.raises(ChatTemplateError, match="it has more than 500 branches"):
        ChatTemplate("{% if a %}{% endif %}" * 501)


def test_a_long_conversation_is_put_together_soon() -> None:
    """As some templates do, message by message: no look at all of them for each."""
    source = (
        "{% set n = namespace(l=[]) %}{% for m in messages %}{% set n.l = n.l + [m] %}{% endfor %}"
        "{{ n.l | length }}"
    )
    assert ChatTemplate(source).render(TALK * 500) == "2000"


def test_constants_are_not_worked_out_ahead() -> None:
    """Where neither the meter nor the time limit of a rendering would hold."""
    template = ChatTemplate("{{ " + X4000 + (" | replace('x', " + X4000 + ")") * 2 + " }}")
    with pytest.raises(ChatTemplateError, match="more than"):
        template.render(TALK)


def test_what_templates_of_models_use_is_there() -> None:
    """Filters, tests, methods and functions of the templates that llama.cpp is tested with."""
    source = (
        "{% set n = namespace(a=[]) %}{% macro m(x, n=none) %}[{{ x }}]{% endmacro %}"
        "{% for r in messages | map(attribute='role') | unique %}{% set n.a = n.a + [r] %}"
        "{% endfor %}{{ n.a | join(',') }} {{ m('a' ~ 1, n=n) }} {{ 'a b'.split(' ')[-1] }} "
        "{{ messages | selectattr('role', 'equalto', 'user') | list | length }} "
        "{{ messages[::-1][0].content.rstrip('e').startswith('By') }} {{ 'x' | indent(2, true) }} "
        "{{ {'b': 1, 'a': 2} | dictsort | first | last }} {{ none | default('d', true) | upper }} "
        "{{ [1] | tojson(indent=1) | replace('\\n', '') }} "
        "{{ (7 - 2) // 2 % 2 }}{% set a, b = 1, 2 %}"
    )
    assert ChatTemplate(source).render(TALK) == (
        "system,user,assistant [a1] b 2 True   x 2 D [ 1] 0"
    )


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{{ cycler.__init__.__globals__.os.system('true') }}",
        "{% for a in range(1000000) %}{% endfor %}",
        "{{ 1 / 0 }}",
        "{{ messages[0].content + 1 }}",
        "{% include '/etc/passwd' %}",
        "{{ 'x' * 10000000000 }}",
        "{{ '%9999999999d' % 1 }}",
        "{{ 'x'.ljust(10000000000) }}",
        "{{ '{:>9999999999}'.format(1) }}",
        DOUBLING,
        "{% for i in range(99999) %}{{ '" + 400 * "x" + "' }}{% endfor %}",
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    ],
)
def test_the_sandbox_holds(source: str) -> None:
    """Whatever a template tries, it is a fault."""
    with pytest.raises(ChatTemplateError):
        ChatTemplate(source).render(TALK)


@pytest.mark.parametrize("source", ["{% if %}", "{{", "{% for a in b %}", "x" * (LONGEST + 1)])
def test_a_template_that_does_not_compile_is_a_fault(source: str) -> None:
    """Found when the model is loaded, not in the middle of a turn."""
    with pytest.raises(ChatTemplateError):
        ChatTemplate(source)
