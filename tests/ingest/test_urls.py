from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.ingest.spec import CameraSpec
from pipeline.ingest.urls import expand_environment, is_stream, mask_credentials

SECRET = "S3cr3t"
_PLAIN = "abcxyzABC019-._~"
_scheme = st.sampled_from(["rtsp", "rtsps", "rtmp", "http", "https", "udp", "srt", "RTSP", "rtsp+tls"])
_host = st.sampled_from(["10.0.0.7", "cam.example.org:554", "[fe80::1]:8554", "localhost"])
_path = st.text(_PLAIN + "/", max_size=12).map(lambda p: "/" + p)
_secret_name = st.sampled_from(
    [
        *("token", "password", "PASSWORD", "pwd", "key", "api_key", "apikey", "auth", "authkey", "signature", "sig"),
        *("access_token", "X-Amz-Signature", "passphrase", "secret", "pass%77ord", "user", "login"),
    ]
)
_plain_pair = st.tuples(st.sampled_from(["channel", "fps", "q", "subtype"]), st.text(_PLAIN, max_size=6))
_nasty = st.text(_PLAIN + "!$&'()*+,;=:@/?#%[]{}|\"<>", max_size=12)  # all that a typed password may hold


def _around(alphabet: str) -> st.SearchStrategy[str]:
    return st.tuples(st.text(alphabet, max_size=8), st.text(alphabet, max_size=8)).map(SECRET.join)


@st.composite
def _url_with_secrets(draw: st.DrawFn) -> str:
    user_info = draw(st.sampled_from(["", "user", "token"]))
    if user_info == "user":
        user_info = f"{draw(st.text(_PLAIN, max_size=5))}:{draw(_nasty)}{SECRET}{draw(_nasty)}@"
    elif user_info == "token":
        user_info = draw(_around(_PLAIN + "!$'()*+,;=%")) + "@"
    pairs = draw(st.lists(_plain_pair, max_size=2)) + draw(
        st.lists(st.tuples(_secret_name, _around(_PLAIN + "!$'()*+,;:@/?%=")), max_size=2)
    )
    query = "&".join(f"{n}={v}" for n, v in draw(st.permutations(pairs)))
    return f"{draw(_scheme)}://{user_info}{draw(_host)}{draw(_path)}" + (f"?{query}" if query else "")


@given(
    _url_with_secrets(),
    st.sampled_from(["", "cannot open ", "camera a: '", "x=", "[Errno 2] "]),
    st.text(" '\").:;", max_size=3),
)
def test_no_secret_of_any_url_survives(url: str, before: str, after: str) -> None:
    assert SECRET not in mask_credentials(before + url + after)


@given(_url_with_secrets())
def test_no_secret_survives_percent_encoding_of_the_whole_url(url: str) -> None:
    for nested in (quote(url, safe=""), quote(quote(url, safe=""), safe="")):
        assert SECRET not in mask_credentials(f"http://proxy/view?url={nested}")
        assert SECRET not in mask_credentials(nested)


@given(_url_with_secrets())
def test_masking_twice_changes_nothing_more(url: str) -> None:
    assert mask_credentials(mask_credentials(url)) == mask_credentials(url)


@given(st.text())
def test_a_text_without_a_url_is_unchanged(text: str) -> None:
    if "://" not in text and "%" not in text:
        assert mask_credentials(text) == text


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("rtsp://admin:pw@10.0.0.7:554/ch1?x=1", "rtsp://***@10.0.0.7:554/ch1?x=1"),
        ("rtsp://admin:p@ss/w#rd@cam/ch1", "rtsp://***@cam/ch1"),
        ("rtsp://admin:my word@cam/ch1", "rtsp://***@cam/ch1"),
        ("http://cam/video.ts?channel=2&token=abc&fps=5", "http://cam/video.ts?channel=2&token=***&fps=5"),
        ("http://cam/x#access_token=abc", "http://cam/x#access_token=***"),
        (
            "rtsp://dvr/user=admin_password=tlJwp_channel=1_stream=0.sdp",
            "rtsp://dvr/user=***_password=***_channel=1_stream=0.sdp",
        ),
        ("open rtsp://a:b@c/ and rtsp://d:e@f/ now", "open rtsp://***@c/ and rtsp://***@f/ now"),
        ("rtsp://cam:554/live failed", "rtsp://cam:554/live failed"),
        ("/videos/token=1/a.mp4", "/videos/token=1/a.mp4"),
    ],
)
def test_what_is_masked_and_what_is_kept(text: str, masked: str) -> None:
    assert mask_credentials(text) == masked


def test_the_repr_of_a_camera_shows_no_password() -> None:
    assert "pw" not in repr(CameraSpec(0, "a", "rtsp://u:pw@h/"))


def test_environment_variables_are_filled_in() -> None:
    assert expand_environment("rtsp://${USER_1}:${PW}@h", {"USER_1": "u", "PW": "${X}"}) == "rtsp://u:${X}@h"
    assert expand_environment("no $variable here", {}) == "no $variable here"


def test_a_missing_variable_is_named_with_the_remedy() -> None:
    with pytest.raises(ValueError, match=r"CAM1_URL is not set.*export CAM1_URL"):
        expand_environment("${CAM1_URL}", {})


def test_streams_are_told_from_files() -> None:
    for source in ("rtsp://h/x", "RTSPS://h", "rtmp://h", "http://h", "https://h", "udp://@239.0.0.1:5", "srt://h:1"):
        assert is_stream(source)
    for source in ("a.mp4", "/x/a.mp4", "C:\\a.mp4", "file:///x/a.mp4", "0", "rtsp"):
        assert not is_stream(source)
