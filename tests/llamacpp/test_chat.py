"""Chat templates: rendered as Hugging Face renders them, in a sandbox that holds."""

from __future__ import annotations

import pytest

from vanta.messages import Message, ToolCall
from vanta_llamacpp.chat import LONGEST, ChatTemplate, TemplateFault

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
    with pytest.raises(TemplateFault, match="System role not supported"):
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
    with pytest.raises(TemplateFault):
        ChatTemplate(source).render(TALK)


@pytest.mark.parametrize("source", ["{% if %}", "{{", "{% for a in b %}", "x" * (LONGEST + 1)])
def test_a_template_that_does_not_compile_is_a_fault(source: str) -> None:
    """Found when the model is loaded, not in the middle of a turn."""
    with pytest.raises(TemplateFault):
        ChatTemplate(source)
