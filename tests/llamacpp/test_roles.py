"""Models whose own template refuses a role or an order: every turn is answered all the same."""

from __future__ import annotations

from pathlib import Path

import pytest

import vanta
from tests.llamacpp.random_model import write_random_model
from tests.llamacpp.support import MakeEngine, answer
from vanta.check import DiagnosisContext
from vanta.config import Config
from vanta.engine import GenerationRequest, Sampling
from vanta.messages import Message
from vanta.models import ModelStore
from vanta.normalising import AS_GIVEN, RoleRules
from vanta.plugin_loading import load
from vanta_llamacpp.prompt.chat_template import FAMILIES, ChatTemplate, family_template

pytestmark = pytest.mark.anyio

ALTERNATES = (
    "{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/...') }}{% endif %}"
    "<|im_start|>{{ message['role'] }}\n{{ message['content'] | trim }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
STRICT = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}" + ALTERNATES
)
DROPS_SYSTEM = (
    "{% for message in messages if message['role'] != 'system' %}"
    "<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
)
TALK = (
    Message("system", "Be brief."),
    Message("user", "Hi"),
    Message("user", "Are you there?"),
    Message("assistant", "<think>secret</think>\n\nYes."),
    Message("user", "Bye"),
)


@pytest.fixture(scope="module")
def strict_path(smollm2_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "strict.gguf"
    return write_random_model(path, smollm2_path, chat_template=STRICT)


@pytest.mark.parametrize(
    ("template", "rules"),
    [
        (STRICT, RoleRules(system=False, alternating=True)),
        (ALTERNATES, RoleRules(system=False, alternating=True)),
        (DROPS_SYSTEM, RoleRules(system=False)),
    ],
)
def test_the_rules_of_a_template_are_found(template: str, rules: RoleRules) -> None:
    assert ChatTemplate(template).rules == rules


@pytest.mark.parametrize("family", FAMILIES)
def test_our_own_templates_take_a_system_message(family: str) -> None:
    assert ChatTemplate(family_template(family)).rules.system


def test_a_template_that_takes_everything_has_no_rules() -> None:
    assert ChatTemplate(family_template("chatml")).rules == AS_GIVEN


async def test_a_model_without_a_system_role_answers_and_counts(
    make_engine: MakeEngine, strict_path: Path
) -> None:
    engine = make_engine(path=strict_path, threads=1)
    completion = await answer(engine, GenerationRequest(TALK, Sampling(max_tokens=4)))
    counted = await engine.count_tokens(TALK)
    joined = (
        Message("user", "Be brief.\n\nHi\n\nAre you there?"),
        Message("assistant", "Yes."),
        Message("user", "Bye"),
    )
    assert completion.usage is not None
    assert completion.usage.input_tokens == counted.value
    assert counted == await engine.count_tokens(joined)


async def test_whole_turns_are_answered(strict_path: Path, tmp_path: Path) -> None:
    config = {
        "policy": "local",
        "data_dir": str(tmp_path),
        "memory": {"enabled": False},
        "tracks": {
            "local": {"model": str(strict_path), "sampling": {"max_tokens": 4}},
            "api": {"enabled": False},
        },
    }
    async with vanta.open(config) as runtime:
        session = runtime.session("s")
        replies = [await session.ask(text) for text in ("Hello?", "And again?")]
    assert [reply.track for reply in replies] == ["local", "local"]


async def test_doctor_says_what_is_done_with_the_messages(
    strict_path: Path, tmp_path: Path
) -> None:
    tracks = {
        "local": {"engine": "llamacpp", "model": str(strict_path)},
        "absent": {"engine": "llamacpp", "model": str(tmp_path / "none.gguf")},
    }
    plugins = load()
    context = DiagnosisContext(
        Config.model_validate({"data_dir": tmp_path, "tracks": tracks}),
        plugins,
        ModelStore(tmp_path / "models", {}),
    )
    (check,) = [check for check in plugins.checks.values() if check.name == "chat templates"]
    finding = await check.run(context)
    assert finding.ok
    assert "'local': the system prompt is put into the first user message" in finding.detail
    assert "'absent'" not in finding.detail
