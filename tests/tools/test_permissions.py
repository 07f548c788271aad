"""Rules decide about calls: denials win, what allows is read narrowly, what denies widely."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.tools.calls import offer
from vanta import UsageError
from vanta.tools import Decision, OfferedTool, Permissions

WRITE = offer("files.write", "path", "content")
FETCH = offer("web.fetch", "url", effect="read")
COMMAND = offer("command.run", "argv")
SHELL = offer("shell.run", "command")


def decide(
    permissions: Permissions,
    offered: OfferedTool,
    /,
    *,
    private_turn: bool = False,
    after_untrusted: bool = False,
    **arguments: Any,
) -> Decision:
    return permissions.decide(
        offered, arguments, private_turn=private_turn, after_untrusted=after_untrusted
    )


def allows(rule: str, offered: OfferedTool, **arguments: Any) -> bool:
    return decide(Permissions(allow=[rule]), offered, **arguments).verdict == "allow"


def denies(rule: str, offered: OfferedTool, **arguments: Any) -> bool:
    return decide(Permissions("allow", deny=[rule]), offered, **arguments).verdict == "deny"


def test_deny_beats_ask_beats_allow_beats_the_mode() -> None:
    rules = ["write"]
    assert decide(Permissions("allow", rules, rules, rules), WRITE).verdict == "deny"
    asked = decide(Permissions("allow", rules, (), rules), WRITE)
    assert asked == Decision("ask", "tools.ask 'write'", only_this_call=True)
    assert decide(Permissions("ask"), WRITE) == Decision("ask", "tools.mode 'ask'")
    assert decide(Permissions("deny", rules), WRITE).verdict == "allow"
    assert decide(Permissions("deny"), WRITE) == Decision("deny", "tools.mode 'deny'")
    denied = decide(Permissions(deny=["files.w*"]), WRITE)
    assert denied == Decision("deny", "tools.deny 'files.w*'")


@pytest.mark.parametrize(
    ("mode", "read", "write"),
    [
        ("ask", "ask", "ask"),
        ("allow", "allow", "allow"),
        ("deny", "deny", "deny"),
        ("read", "allow", "ask"),
    ],
)
def test_the_mode_decides_what_no_rule_names(mode: str, read: str, write: str) -> None:
    assert decide(Permissions(mode), FETCH).verdict == read
    assert decide(Permissions(mode), WRITE).verdict == write


def test_a_private_turn_asks_for_each_call_that_leaves_the_machine() -> None:
    permissions = Permissions("allow", ["web.*"])
    held = decide(permissions, FETCH, private_turn=True)
    assert (held.verdict, held.only_this_call) == ("ask", True)
    assert "web.fetch may send" in held.rule
    local = offer("files.write", "path", private=True)
    assert decide(permissions, local, private_turn=True).verdict == "allow"
    assert decide(Permissions("deny"), FETCH, private_turn=True).verdict == "deny"
    assert decide(Permissions("allow", deny=["fetch"]), FETCH, private_turn=True).verdict == "deny"


def test_after_an_untrusted_result_calls_with_an_effect_ask_if_so_configured() -> None:
    strict = Permissions("allow", ["*"], untrusted="ask")
    held = decide(strict, WRITE, after_untrusted=True)
    assert (held.verdict, held.only_this_call) == ("ask", True)
    assert decide(strict, WRITE).verdict == "allow"
    assert decide(strict, FETCH, after_untrusted=True).verdict == "allow"
    assert decide(Permissions("allow"), WRITE, after_untrusted=True).verdict == "allow"
    assert decide(Permissions("deny", untrusted="ask"), WRITE, after_untrusted=True).verdict == (
        "deny"
    )


@pytest.mark.parametrize(
    ("rule", "covered"),
    [
        ("write", True),
        ("files.write", True),
        ("files.*", True),
        ("*.write", True),
        ("*", True),
        ("w*e", True),
        ("files", False),
        ("file*", False),
        ("other.write", False),
        ("files.writ", False),
        ("files.write.x", False),
        ("Files.write", False),
    ],
)
def test_a_rule_names_a_tool_with_or_without_its_toolset(rule: str, covered: bool) -> None:
    assert allows(rule, WRITE) is covered


def test_a_bare_name_allows_only_the_one_tool_of_that_name() -> None:
    shared = offer("strange.write", "path", shown_as="strange_write")
    assert not allows("write", shared)
    assert not allows("strange_write", shared)
    assert allows("strange.write", shared)
    assert denies("write", shared)
    assert denies("strange_write", shared)


def test_a_rule_that_denies_may_name_a_toolset_in_any_case() -> None:
    assert denies("files", WRITE)
    assert denies("FILES.Write", WRITE)
    assert not denies("file", WRITE)


@pytest.mark.parametrize(
    ("pattern", "path", "covered"),
    [
        ("docs/**", "docs/a", True),
        ("docs/**", "docs/a/b/c", True),
        ("docs/**", "docs", False),
        ("docs/**", "docsx/a", False),
        ("docs/**", "/docs/a", False),
        ("docs/**", "docs/../etc/passwd", False),
        ("docs/**", "docs/a/..", False),
        ("docs/**", "docs/%2e%2e/x", False),
        ("docs/**", "docs/%252e%252e/x", False),
        ("docs/**", "docs/..%2fx", False),
        ("docs/**", "docs/..;/x", False),
        ("docs/**", "docs\\..\\x", False),
        ("docs/**", "docs/a\x00b", False),
        ("docs/**", "docs/" + "a" * 5000, False),
        ("docs/*", "docs/a", True),
        ("docs/*", "docs/a/b", False),
        ("docs/*.md", "docs/a.md", True),
        ("docs/*.md", "docs/a.md.py", False),
        ("**/*.md", "docs/a/b.md", True),
        ("**/*.md", "b.md", True),
        ("docs/**/x", "docs/x", True),
        ("docs/**/x", "docs/a/b/x", True),
        ("docs/**/x", "docs/a/b/y", False),
        ("*/x", "/x", False),
        ("**", "anything/at/all", True),
        ("**", "", True),
        ("a?c", "abc", True),
        ("a[b]c", "abc", False),
        ("a[b]c", "a[b]c", True),
        ("docs/**", "DOCS/a", False),
    ],
)
def test_a_path_is_allowed_only_where_it_certainly_is(
    pattern: str, path: str, covered: bool
) -> None:
    assert allows(f"files.write({pattern})", WRITE, path=path, content="docs/x") is covered


@pytest.mark.parametrize(
    ("url", "covered"),
    [
        ("https://docs.python.org/3/library/re.html", True),
        ("https://docs.python.org/?q=/a", True),
        ("HTTPS://docs.python.org/3/", True),
        ("https://docs.python.org", True),
        ("http://docs.python.org/3/", False),
        ("https://docs.python.org.evil.com/x", False),
        ("https://docs.python.org@evil.com/x", False),
        ("https://evil.com/https://docs.python.org/x", False),
        ("https://evil.com?https://docs.python.org/x", False),
        ("https://docs.python.org\\@evil.com/", False),
        ("https:\\\\docs.python.org/x", False),
        ("https://docs.python.org:8443/x", False),
        ("https://docs.python.org/a/../../x", False),
        (" https://docs.python.org/x", False),
        ("https://docs.python.org\t/x", False),
        ("https:/docs.python.org/x", False),
        ("https:///docs.python.org/x", False),
    ],
)
def test_a_url_is_allowed_only_in_its_plain_form(url: str, covered: bool) -> None:
    assert allows("fetch(https://docs.python.org/**)", FETCH, url=url) is covered


@pytest.mark.parametrize(
    ("url", "covered"),
    [
        ("https://a.example.com/x", True),
        ("https://a.b.example.com/x", True),
        ("https://evil.com?.example.com/x", False),
        ("https://evil.com#.example.com/x", False),
        ("https://evil.com/.example.com/x", False),
        ("https://evil.com\\.example.com/x", False),
        ("https://u:p@a.example.com/x", False),
        ("https://evil.com%2f.example.com/x", False),
        ("https://.example.com/x", True),
    ],
)
def test_a_star_in_a_host_stays_in_the_host(url: str, covered: bool) -> None:
    assert allows("fetch(https://*.example.com/**)", FETCH, url=url) is covered


@pytest.mark.parametrize(
    ("argv", "covered"),
    [
        (["git", "status"], True),
        (["git", "status", "--short", "src/a"], True),
        (["git", "commit"], False),
        (["git", "-c", "core.pager=x", "status"], False),
        (["git status"], False),
        (["/tmp/git", "status"], False),
        ([], False),
        (["git", 1], False),
    ],
)
def test_a_command_is_matched_as_a_line(argv: list[Any], covered: bool) -> None:
    assert allows("command.run(git status*)", COMMAND, argv=argv) is covered


@pytest.mark.parametrize(
    "line",
    [
        "git status; rm -rf ~",
        "git status && x",
        "git status | sh",
        "git status $(x)",
        "git status `x`",
        "git status\nx",
        "git status > /etc/x",
    ],
)
def test_a_line_with_shell_syntax_is_not_allowed_by_its_beginning(line: str) -> None:
    assert allows("shell.run(git status*)", SHELL, command="git status -s a/b")
    assert not allows("shell.run(git status*)", SHELL, command=line)


def test_each_item_of_a_list_is_matched() -> None:
    read = offer("files.read_many", "paths")
    assert allows("read_many(docs/**)", read, paths=["docs/a", "docs/b"])
    assert not allows("read_many(docs/**)", read, paths=["docs/a", "/etc/passwd"])
    assert not allows("read_many(docs/**)", read, paths=[])


def test_arguments_can_be_named() -> None:
    move = offer("files.move", "source", "target")
    rule = "files.move(source=docs/**, target=docs/**)"
    assert allows(rule, move, source="docs/a", target="docs/b")
    assert not allows(rule, move, source="docs/a", target="/etc/b")
    assert allows("web.fetch(https://x.org/?a=*)", FETCH, url="https://x.org/?a=1")


@pytest.mark.parametrize(
    "path",
    [
        ".git/config",
        "./.git/config",
        "docs/../.git/config",
        "docs//..//.git//config",
        "/home/ada/project/.git/config",
        ".GIT/config",
        "%2egit/config",
        ".git\\config",
        " .git/config",
        "\uff0egit/config",
    ],
)
def test_a_denied_path_is_denied_in_every_spelling(path: str) -> None:
    assert denies("files.write(.git/**)", WRITE, path=path, content="x")
    assert not denies("files.write(.git/**)", WRITE, path="docs/a", content="x\n.git/config")


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.com/x",
        "HTTPS://EVIL.com/x",
        "https://evil.com",
        "https://user@evil.com/x",
        "https://evil.com:443/x",
        "https://evil.com./x",
        "https://evil.com/a/b/c",
        "\thttps://evil.com/x",
        "https://ev\nil.com/x",
        "https:\\\\evil.com\\x",
        "https:///evil.com/x",
        "https://evil.com?x",
        "https://evil.com#x",
        "https://%65vil.com/x",
        "https://\uff45vil.com/x",
        "https://evil。com/x",
        "https:/evil.com/x",
        "https:evil.com/x",
        "//evil.com/x",
        "evil.com/x",
        "https://good.com@evil.com:8443/x",
    ],
)
def test_a_denied_address_is_denied_in_every_spelling(url: str) -> None:
    assert denies("fetch(https://evil.com/*)", FETCH, url=url)
    assert not denies("fetch(https://evil.com/*)", FETCH, url="https://good.com/evil.com")


@pytest.mark.parametrize(
    "argv",
    [
        ["rm", "-rf", "x"],
        ["/bin/rm", "-rf", "x"],
        ["sudo", "rm", "x"],
        ["env", "A=b", "RM", "x"],
        ["rm", "a b"],
        ["rm"],
    ],
)
def test_a_denied_program_is_denied_wherever_it_stands(argv: list[str]) -> None:
    assert denies("command(rm *)", COMMAND, argv=argv)
    assert denies("run(rm *)", SHELL, command=" ".join(argv))
    assert denies("run(rm *)", SHELL, command=f"true;{' '.join(argv)}")
    assert not denies("command(rm *)", COMMAND, argv=["git", "status"])


def test_every_argument_counts_for_a_rule_that_denies() -> None:
    move = offer("files.move", "source", "target")
    assert denies("files.move(secrets/**)", move, source="a", target="secrets/b")
    assert denies("files.move(target=secrets/**)", move, source="a", target="secrets/b")
    assert not denies("files.move(source=secrets/**)", move, source="a", target="secrets/b")
    nested = offer("files.many", "edits")
    assert denies("files.many(secrets/**)", nested, edits=[{"path": "secrets/b"}])


def with_schema(**properties: Any) -> OfferedTool:
    """Return a tool with a required argument and others that a call may leave out."""
    bare = offer("ops.deploy")
    described = {"note": {"type": "string"}, **properties}
    schema = {"type": "object", "properties": described, "required": ["note"]}
    return replace(bare, tool=replace(bare.tool, parameters=schema))


def test_leaving_an_argument_out_passes_no_rule_that_denies() -> None:
    plain = offer("files.list")
    listing = {"type": "object", "properties": {"path": {"type": "string"}}}
    lists = replace(plain, tool=replace(plain.tool, parameters=listing))
    assert denies("files.list(*)", lists)
    assert denies("files.list(**)", lists)
    assert not denies("files.list(secrets*)", lists)
    deploy = with_schema(target={"type": "string", "default": "production"})
    assert denies("ops.deploy(prod*)", deploy, note="go")
    assert denies("ops.deploy(target=prod*)", deploy, note="go")
    assert not denies("ops.deploy(target=prod*)", deploy, note="go", target="staging")
    assert not denies("ops.deploy(target=prod*)", with_schema(), note="go")


PADDINGS = [
    lambda path: f"{'./' * 1500}{path}",
    lambda path: f"{path}\n",
    lambda path: f"\n\n  {path}",
    lambda path: f"{'a/' * 100}{path}",
    lambda path: f"x/{'../x/' * 800}../{path}",
]


@pytest.mark.parametrize("pad", PADDINGS)
def test_a_long_or_odd_path_is_denied_wherever_it_stands(pad: Callable[[str], str]) -> None:
    move = offer("files.move", "source", "target")
    path = pad("secrets/b")
    assert denies("files.move(secrets/**)", move, source="a", target=path)
    assert denies("files.move(secrets/**)", move, source=path, target="a")
    assert not denies("files.move(secrets/**)", move, source="a", target=pad("public/b"))


@pytest.mark.parametrize(
    "url",
    [
        "http://inside.example/\n",
        f"http://inside.example/?{'a' * 5000}",
        "http\n://inside.example/x y\nz",
    ],
)
def test_a_long_or_odd_url_is_denied_wherever_it_stands(url: str) -> None:
    send = offer("net.send", "method", "url")
    assert denies("net.send(http://inside.example/*)", send, method="GET", url=url)


def test_a_longer_text_beside_the_main_argument_is_not_a_path() -> None:
    content = "secrets are kept elsewhere\nand never here"
    assert not denies("files.write(secrets*)", WRITE, path="a", content=content)
    assert denies("files.write(content=secrets*)", WRITE, path="a", content=content)


def test_the_names_in_an_object_count_for_a_rule_that_denies() -> None:
    many = offer("files.many", "files")
    assert denies("files.many(secrets/**)", many, files={"secrets/b": "text"})
    assert not denies("files.many(secrets/**)", many, files={"public/b": "text"})


@pytest.mark.parametrize("words", [64, 1000])
def test_a_denied_program_is_denied_behind_many_words(words: int) -> None:
    many = ["x"] * words
    assert denies("run(rm *)", SHELL, command=f"echo {' '.join(many)}; rm -rf /")
    assert denies("command(rm *)", COMMAND, argv=["env", *many, "/bin/rm", "-rf"])
    assert denies("command(rm -rf)", COMMAND, argv=["env", *many, "rm", "-rf"])
    assert not denies("command(rm *)", COMMAND, argv=["echo", *many, "farm", "x"])


def test_a_denied_host_is_denied_as_it_is_sent_too() -> None:
    rule = "fetch(https://b\u00fccher.example/*)"
    assert denies(rule, FETCH, url="https://xn--bcher-kva.example/x")
    assert denies(rule, FETCH, url="https://B\u00dcCHER.example:443/x")
    assert not denies(rule, FETCH, url="https://xn--bcher-zzz.example/x")


@pytest.mark.parametrize(
    "text", ["rm " * 100_000, "a/" * 100_000, "/" * 300_000, "x" * 300_000, "http://" * 40_000]
)
def test_a_rule_that_denies_takes_linear_time(text: str) -> None:
    began = time.process_time()
    for rule in ("run(rm -rf *)", "run(*rm*-rf*x*)", "run(a/b/*c)", "run(rm)"):
        denies(rule, SHELL, command=text)
    assert time.process_time() - began < 30


def test_numbers_and_missing_arguments_are_matched_as_json() -> None:
    pay = offer("bank.pay", "amount")
    assert allows("pay(10)", pay, amount=10)
    assert not allows("pay(10)", pay, amount=100)
    assert denies("pay(1*)", pay, amount=100)
    assert not allows("pay(10)", pay)


@pytest.mark.parametrize("rule", ["", " ", "files.write(", "files.write()", "a b", "x)", "(x)"])
def test_what_is_not_a_rule_is_refused(rule: str) -> None:
    with pytest.raises(UsageError, match=r"^tools.allow: .* is not a rule for tools"):
        Permissions(allow=[rule])


def test_words_and_lists_are_checked() -> None:
    with pytest.raises(UsageError, match=r"tools.mode cannot be 'alow'. Did you mean 'allow'"):
        Permissions("alow")
    with pytest.raises(UsageError, match=r"tools.untrusted cannot be 'deny'"):
        Permissions(untrusted="deny")
    with pytest.raises(UsageError, match=r"tools.deny is a list of rules"):
        Permissions(deny="files.*")


def test_a_rule_takes_time_linear_in_the_argument() -> None:
    path = "a" * 200_000
    assert not denies("files.write(*a*a*a*a*a*a*a*b)", WRITE, path=path, content=path)
    assert not allows("files.write(*a*a*a*a*a*a*a*b)", WRITE, path=path[:4000], content=path)


def test_a_denied_address_may_be_an_ipv6_one_with_a_port() -> None:
    assert denies("fetch(http://[::1]/*)", FETCH, url="http://[::1]:8080/x")
    assert not denies("fetch(http://[::1]/*)", FETCH, url="http://[::2]:8080/x")
    assert denies("fetch(*://evil.com/*)", FETCH, url="ftp://evil.com/x")
