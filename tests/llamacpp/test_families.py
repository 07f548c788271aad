"""The templates by family: their reference renderings, and which model gets which."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest

from vanta.engine import ModelFile
from vanta.messages import Message
from vanta_llamacpp.model import native
from vanta_llamacpp.model.header_checks import ModelFacts
from vanta_llamacpp.model.vocabulary import Vocabulary
from vanta_llamacpp.prompt.chat_template import (
    FAMILIES,
    ChatTemplate,
    ChatTemplateError,
    family_template,
    sources,
)

TALK = (
    Message("system", "Be brief."),
    Message("user", "Hi"),
    Message("assistant", "Hello."),
    Message("user", "Bye"),
)
REFERENCES = {
    "chatml": "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
    "<|im_start|>assistant\nHello.<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n"
    "<|im_start|>assistant\n",
    "llama3": "<s><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\nHello.<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nBye<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n",
    "llama2": "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi [/INST] Hello. </s>"
    "<s>[INST] Bye [/INST]",
    "mistral": "<s>[INST] Be brief.\n\nHi [/INST] Hello.</s>[INST] Bye [/INST]",
    "gemma": "<s><start_of_turn>user\nBe brief.\n\nHi<end_of_turn>\n"
    "<start_of_turn>model\nHello.<end_of_turn>\n<start_of_turn>user\nBye<end_of_turn>\n"
    "<start_of_turn>model\n",
    "phi": "<|system|>\nBe brief.<|end|>\n<|user|>\nHi<|end|>\n<|assistant|>\nHello.<|end|>\n"
    "<|user|>\nBye<|end|>\n<|assistant|>\n",
    "alpaca": "Be brief.\n\n### Instruction:\nHi\n\n### Response:\nHello.</s>\n\n"
    "### Instruction:\nBye\n\n### Response:\n",
    "vicuna": "Be brief. USER: Hi ASSISTANT: Hello.</s>USER: Bye ASSISTANT:",
}
LIBRARY = {"chatml": "chatml", "llama3": "llama3", "gemma": "gemma", "phi": "phi3"}


def rendered(family: str, talk: tuple[Message, ...] = TALK) -> str:
    """The prompt in the format of a family."""
    return ChatTemplate(family_template(family), bos="<s>", eos="</s>").render(talk)


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_renders_as_its_reference(family: str) -> None:
    """With a system message and turns of both."""
    assert rendered(family) == REFERENCES[family]


@pytest.mark.parametrize("family", FAMILIES)
def test_without_a_system_message_nothing_is_made_up(family: str) -> None:
    """No empty frame around nothing."""
    told = rendered(family, TALK[1:])
    assert "Be brief" not in told
    assert "SYS" not in told
    assert "Hi" in told


@pytest.mark.parametrize("family", LIBRARY)
def test_the_library_renders_the_same(family: str) -> None:
    """llama.cpp knows some of them by name; it leaves the start token to the tokenizer."""
    lib = native.library()
    chat = (lib.llama_chat_message * len(TALK))(
        *[lib.llama_chat_message(each.role.encode(), each.content.encode()) for each in TALK]
    )
    room = ctypes.create_string_buffer(2000)
    size = lib.llama_chat_apply_template(
        LIBRARY[family].encode(), chat, len(TALK), True, room, len(room)
    )
    assert rendered(family).removeprefix("<s>") == room.raw[:size].decode()


@pytest.mark.parametrize("family", ["llama2", "mistral"])
def test_turns_out_of_order_are_refused(family: str) -> None:
    """These formats cannot say who speaks."""
    with pytest.raises(ChatTemplateError, match="take turns"):
        rendered(family, (TALK[1], TALK[1]))


@pytest.fixture(scope="module")
def vocabulary(smollm2_path: Path) -> Vocabulary:
    """Of the real model."""
    from vanta_llamacpp.errors import Faults

    lib = native.library()
    params = lib.llama_model_default_params()
    params.vocab_only = True
    model = lib.llama_model_load_from_file(str(smollm2_path).encode(), params)
    return Vocabulary(lib, lib.llama_model_get_vocab(model), Faults("small"))


def facts(name: str, template: str | None = None) -> ModelFacts:
    """Of a model with that name."""
    return ModelFacts(name, "llama", 64, 1, 1, "F16", 1, template)


def test_the_files_own_template_comes_first_then_the_registrys(vocabulary: Vocabulary) -> None:
    """Then the family's."""
    file = ModelFile("m", Path("m.gguf"), {"chat_template": "mistral"})
    found = sources(file, facts("Some Vicuna", "{{ messages }}"), vocabulary)
    assert [whose for whose, _ in found] == [
        "the file's",
        "the registry's (mistral)",
        "its family's (chatml)",
    ]
    assert found[0][1] == "{{ messages }}"


def test_a_family_is_known_by_its_control_tokens_or_its_name(vocabulary: Vocabulary) -> None:
    """And by nothing else: a model of no known family has none."""
    assert vocabulary.is_control("<|im_start|>")
    bare = Path("m.gguf")

    class NoTokens(Vocabulary):
        def __init__(self) -> None:
            self._controls = frozenset()

    for name, family in {
        "Vicuna 13B": "vicuna",
        "Mixtral-8x7B": "mistral",
        "Llama 2 7B Chat": "llama2",
        "alpaca-7b": "alpaca",
    }.items():
        (found,) = sources(ModelFile("m", bare), facts(name), NoTokens())
        assert found == (f"its family's ({family})", family_template(family))
    assert sources(ModelFile("m", bare), facts("Base"), NoTokens()) == []
