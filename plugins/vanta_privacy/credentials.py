"""Where credentials stand in a text: formats of providers, and places that hold a value.

`FORMATS` has the documented prefixes of keys. `WORD` finds names such as that of `DB_PASSWORD`, and
`QUOTED` to `BESIDE` match a value after one, in any notation. The other patterns find options of
commands, headers and URLs. Invariant: each pattern begins with a literal, or is matched in one
place, and all its repetitions are bounded, so that it takes linear time.
"""

from __future__ import annotations

import re

_BODIES = {
    "sk-": r"[\w-]{20,}",
    "sk_live_": r"\w{16,}",
    "sk_test_": r"\w{16,}",
    "rk_live_": r"\w{16,}",
    "rk_test_": r"\w{16,}",
    "whsec_": r"[\w+/=]{24,}",
    "AKIA": r"[0-9A-Z]{16}(?![0-9A-Za-z])",
    "ASIA": r"[0-9A-Z]{16}(?![0-9A-Za-z])",
    "ghp_": r"[A-Za-z0-9]{36,}",
    "gho_": r"[A-Za-z0-9]{36,}",
    "ghu_": r"[A-Za-z0-9]{36,}",
    "ghs_": r"[A-Za-z0-9]{36,}",
    "ghr_": r"[A-Za-z0-9]{36,}",
    "github_pat_": r"\w{40,}",
    "glpat-": r"[\w-]{20,}",
    "gldt-": r"[\w-]{20,}",
    "glrt-": r"[\w-]{20,}",
    "xox": r"[abeprs]-[\w-]{10,}",
    "xapp-": r"[\w-]{20,}",
    "AIza": r"[\w-]{35}",
    "ya29.": r"[\w-]{20,}",
    "GOCSPX-": r"[\w-]{20,}",
    "SG.": r"[\w-]{16,64}\.[\w-]{16,}",
    "hf_": r"[A-Za-z0-9]{30,}",
    "npm_": r"[A-Za-z0-9]{36}",
    "pypi-": r"[\w-]{50,}",
    "rubygems_": r"[0-9a-f]{48}",
    "dop_v1_": r"[0-9a-f]{64}",
    "shpat_": r"[0-9a-f]{32}",
    "shpss_": r"[0-9a-f]{32}",
    "shpca_": r"[0-9a-f]{32}",
    "shppa_": r"[0-9a-f]{32}",
    "SK": r"[0-9a-f]{32}(?![0-9A-Za-z])",
    "key-": r"[0-9a-f]{32}(?![0-9A-Za-z])",
    "dapi": r"[0-9a-f]{32}(?![0-9A-Za-z])",
    "gsk_": r"[A-Za-z0-9]{40,}",
    "r8_": r"[A-Za-z0-9]{30,}",
    "pplx-": r"[A-Za-z0-9]{40,}",
    "xai-": r"[A-Za-z0-9]{40,}",
    "nvapi-": r"[\w-]{40,}",
    "AGE-SECRET-KEY-1": r"[0-9A-Z]{40,}",
    "hvs.": r"[\w-]{20,}",
    "hvb.": r"[\w-]{20,}",
    "dckr_pat_": r"[\w-]{20,}",
    "lin_api_": r"[A-Za-z0-9]{32,}",
    "sntrys_": r"[\w+/=]{40,}",
    "PMAK-": r"[0-9a-f]{24}-[0-9a-f]{34}",
    "ATATT3": r"[\w=-]{40,}",
    "figd_": r"[\w-]{40,}",
    "tskey-": r"[a-z]{2,10}-[\w-]{16,}",
    "sbp_": r"[0-9a-f]{40}",
    "NRAK-": r"[0-9A-Z]{27}",
    "sq0csp-": r"[\w-]{40,}",
    "hooks.slack.com/services/": r"T\w{6,12}/B\w{6,12}/\w{20,}",
    "discord.com/api/webhooks/": r"\d{15,20}/[\w-]{50,}",
    ":AA": r"(?<=\d{8}:AA)[\w-]{33}",
    "eyJ": r"(?<![\w-]eyJ)[\w-]{8,8000}\.[\w-]{8,8000}\.[\w-]{8,}",
}
"""What follows a documented prefix. Sources: the providers' documentation, GitHub's list of secret
scanning patterns."""

FORMATS = {
    prefix: re.compile(
        ("" if prefix[0] == ":" else r"(?<![A-Za-z0-9])")
        + re.escape(prefix)
        + rf"(?P<value>{body})",
        re.ASCII,
    )
    for prefix, body in _BODIES.items()
}
"""Prefix -> pattern of a key; its body is `value`."""

PRIVATE_KEY = re.compile(
    r"-{5}BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY|PuTTY-User-Key-File-\d: [a-z]|\"d\" ?: ?\"[\w-]{40,}\""
)

_PASSWORDS = (
    r"passwords?|passwd|passwort|passphrase|passcode|kennwort|kennword|mot ?de ?passe|contrase[ñn]a"
    r"|senha|palavra-passe|пароль|пароля|паролем|密码|密碼|口令|パスワード|パスフレーズ|暗証番号"
    r"|비밀번호|암호|wachtwoord|lösenord|adgangskode|passord|salasana|has[łl]o|[şs]ifre|parola|heslo"
    r"|mật khẩu|كلمة المرور|كلمة السر|סיסמה|סיסמא|รหัสผ่าน|पासवर्ड|kata sandi|jelsz[óo]"
)
_KEY = (
    r"(?:api|secret|private|access|account|auth|encryption|master|signing|shared|client|storage"
    r"|license)[ _.-]?key"
)
WORD = re.compile(
    rf"(?P<long>{_PASSWORDS}|{_KEY})|(?P<short>token|secret|credentials?|pass|pwd|pw|psk)"
)
"""Words that announce a credential, in lower case. A short one must begin a part of a name."""

LABEL = re.compile(rf"{_PASSWORDS}|{_KEY}|token|secret|credential")
"""Words, in lower case, that stand in labels and in names of variables, but in few credentials."""

SUFFIX = re.compile(
    r"(?:_?(?:[Bb]ase|BASE|[Vv]alue|VALUE|[Pp]rod|PROD|[Dd]ev|DEV|[Ss]taging|STAGING|[Tt]est|TEST"
    r"|[Ll]ive|LIVE|[Oo]ld|OLD|[Nn]ew|NEW|[Mm]ain|MAIN|\d{1,3}))?(?![A-Za-z0-9_])"
)
"""The end of a name whose last part is not the word itself, such as `SECRET_KEY_BASE`."""

_CLOSING = r"['\"\])}]{0,3}[ \t]{0,8}"
_QUOTED = r"[bBrRfFuU@$]?(?P<quote>[\"'])(?P<value>(?:(?!(?P=quote))[^\n]){1,300})(?P=quote)"

QUOTED = re.compile(
    rf"{_CLOSING}(?P<sign>:=|=>|==|=|:|,|(?<=[\"'][ \t])value[ \t]{{0,4}}=|\()[ \t]{{0,8}}{_QUOTED}"
)
"""`password = "..."`, `"password": "..."`, `setPassword("...")`, `define('PASSWORD', '...')`."""

VARIABLE = re.compile(r"=(?P<value>[^\s\"';&<>]{1,300})")
"""`DB_PASSWORD=...`, after a name in capitals."""

OPEN = re.compile(rf"{_CLOSING}(?::=|=>|==|=|:|>)[ \t]{{0,8}}(?P<value>[^\s\"'<>]{{1,300}})")
"""`password: ...`, `password=...`, `<password>...<`."""

_IS = (
    r"[ \t]{1,3}(?:is|was|to|ist|war|lautet|est|es|era|é|è|je|là|är|er|jest|on)[ \t:]{1,3}"
    r"|'s[ \t]{1,3}|[ \t]{0,3}[是为為はがを은는이가][ \t]{0,3}"
)
SENTENCE = re.compile(
    rf"(?:[ \t]{{1,3}}[^\W\d]{{1,15}}){{0,4}}?(?:{_IS})"
    r"(?:[\"'](?P<quoted>[^\n\"']{4,64})|(?P<value>[^\s\"']{4,64}))"
)
"""`the password for the router is ...`."""

BESIDE = re.compile(rf"[ \t]{{1,3}}(?:{_QUOTED}|(?P<open>[^\s\"'<>]{{6,300}}))")
"""A value that follows its name: SQL, netrc, `--password ...`."""

OPTION = re.compile(
    r"(?:(?:mysql|mysqldump|mysqladmin|sshpass|az login|docker login|helm|plink|twine)\b"
    r"[^\n|;]{0,80}?[ \t]-p[ \t]{0,2}|(?:-u|--user)[ =]?[\"']?[^\s:\"'=/]{1,64}:"
    r"|(?:identified by|IDENTIFIED BY)[ \t]{1,3})[\"']?(?P<value>[^\s\"']{4,300})"
)
"""Passwords in the options of well-known commands and statements."""

AUTHORIZATION = re.compile(
    r"(?:[Bb]earer|BEARER|[Aa]uthorization[\"']?[ \t]{0,3}[:=,][ \t]{0,3}[\"']?[A-Za-z]{1,20})"
    r"[ \t]{1,4}(?P<value>[\w.~+/=-]{12,8000})",
    re.ASCII,
)
"""The header of HTTP, with any scheme, and a bearer token anywhere."""

USER_INFO = re.compile(r"://[^\s/?#@:\"'<>]{0,100}:(?P<value>[^\s/?#\"'<>]{1,200})@[\w\[{$<%]")
"""The password of a URL."""

PARAMETER = re.compile(r"[?&](?:sig|signature|X-Amz-Signature|key)=(?P<value>[\w%/+=-]{16,500})")
"""A signature or key in the query of a URL."""
