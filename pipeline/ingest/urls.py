"""Addresses of cameras: what is a stream, what is filled in from the environment, and what nobody may read.

Masking errs on the side of hiding too much: a password may hold `/`, `?`, `#` or `@` although RFC 3986 section
3.2.1 wants them percent-encoded, and cameras accept that.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import unquote

MASK = "***"

_SCHEME = r"[A-Za-z][A-Za-z0-9+.\-]*"
_URL = re.compile(rf"{_SCHEME}(?:://|%(?:25)*3A(?:%(?:25)*2F){{2}})\S*", re.IGNORECASE)
_USER_INFO = re.compile(rf"({_SCHEME}://)\S*@", re.IGNORECASE)
_SPACED_USER_INFO = re.compile(rf"^(\s*{_SCHEME}://)\S*[^\S\r\n][^\r\n]*@")
_ENCODED_USER_INFO = re.compile(rf"({_SCHEME}%(?:25)*3A(?:%(?:25)*2F){{2}})\S*(@|%(?:25)*40)", re.IGNORECASE)
_SECRET_NAME = re.compile(
    r"token|pass|pwd|^pw$|key|auth|secret|sig|cred|sess|^sid$|jwt|bearer|hdn|policy|user|usr|login|^acc(ount)?$|pin$",
    re.IGNORECASE,
)
_PARAMETER = re.compile(
    r"(?P<sep>[?&;#/,_]|%(?:25)*(?:3F|26|3B|23|2F|2C))"  # what stands before a name, also percent-encoded
    r"(?P<name>(?:(?!%(?:25)*(?:3F|26|3B|23|2F|2C|3D))[^=?&;#/,\s]){1,64}?)"
    r"(?P<eq>=|%(?:25)*3D)"
    r"(?P<value>\*{3}(?=[^&\s\w]?(?:[&\s]|$))|[^&\s]*)",  # what is masked already stays as it is
    re.IGNORECASE,
)
_NEXT_IN_PATH = re.compile(r"_[A-Za-z]+=")
_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_IS_STREAM = re.compile(rf"^({_SCHEME})://", re.IGNORECASE)


def mask_credentials(text: str) -> str:
    """`text` with every user, password, token and key inside its URLs replaced by `***`; else unchanged.

    Covers `scheme://user:password@host`, secret parameters (`token=`, `password=`, `key=`, `auth=`, `sig=`, ... in
    the query, the fragment or, as some recorders have it, the path) and URLs that stand percent-encoded inside
    others. A text that begins with a URL may have spaces in the password.
    """
    text = _SPACED_USER_INFO.sub(rf"\1{MASK}@", text)
    return _URL.sub(lambda found: _mask_url(found.group()), text)


def _mask_url(url: str) -> str:
    for pattern in (_USER_INFO, _ENCODED_USER_INFO):
        if found := pattern.search(url):
            # An @ may also stand in the middle of a secret parameter, whose rest must go too.
            end = max([found.end(), *(end for start, end in _secret_values(url) if start < found.end() < end)])
            url = f"{url[: found.end(1)]}{MASK}@{url[end:]}"
    masked, position = "", 0
    for start, end in _secret_values(url):
        masked += url[position:start] + MASK
        position = end
    return masked + url[position:]


def _secret_values(url: str) -> list[tuple[int, int]]:
    """Where the values of secret parameters begin and end, in order."""
    spans, position = [], 0
    while found := _PARAMETER.search(url, position):
        if not _SECRET_NAME.search(unquote(unquote(found["name"]))):
            position = found.end("eq")  # go on right behind the name: the value may hold parameters of its own
            continue
        start, position = found.span("value")
        in_path = _NEXT_IN_PATH.search(found["value"]) if found["sep"] in "/_," else None
        if in_path:  # rtsp://recorder/user=a_password=b_channel=1: go on with the next name
            position = start + in_path.start()
        spans.append((start, position))
    return spans


def expand_environment(text: str, environ: Mapping[str, str]) -> str:
    """`text` with each `${NAME}` replaced by the variable's value, which is not expanded again.

    Raises ValueError naming a variable that is not set, or a `${...}` without a name.
    """

    def value_of(found: re.Match[str]) -> str:
        name = found.group(1).strip()
        if not name:
            raise ValueError("'${}' names no environment variable; write ${NAME}")
        if name not in environ:
            raise ValueError(
                f"environment variable {name} is not set; set it before the start (export {name}=...) "
                f"or write the address in place of ${{{name}}}"
            )
        return environ[name]

    return _VARIABLE.sub(value_of, text)


def is_stream(source: str) -> bool:
    """True for a network address (`rtsp://`, `rtmp://`, `http://`, `udp://`, `srt://`, ...), False for files."""
    found = _IS_STREAM.match(source.strip())
    return found is not None and found.group(1).lower() != "file"
