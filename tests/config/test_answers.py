"""`answers`: what the gateway's own responses say."""

from pathlib import Path

import pytest

from gateway.settings.answers import Answers
from tests.config.reading import gateway_problems, load_gateway_text


def read(folder: Path, text: str) -> Answers:
    return load_gateway_text(folder, f"answers: {text}\n").settings.answers


def test_without_the_section_a_429_is_plain_text_with_an_id(tmp_path: Path) -> None:
    assert load_gateway_text(tmp_path, "").settings.answers == Answers("Too Many Requests\n", request_id=True)


def test_a_body_may_have_several_lines(tmp_path: Path) -> None:
    text = "\n  content_type: text/html; charset=utf-8\n  body: |\n    <h1>Slow down</h1>\n    <p>Later</p>"
    answers = read(tmp_path, text)
    assert answers.body == "<h1>Slow down</h1>\n<p>Later</p>\n"
    assert answers.content_type == "text/html; charset=utf-8"


def test_a_body_may_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "429.json").write_text('{"error": "grün"}\n')
    assert read(tmp_path, "{body_file: 429.json}").body == '{"error": "grün"}\n'


def test_retry_after_is_a_range(tmp_path: Path) -> None:
    assert read(tmp_path, "{retry_after: [1s, 2m]}").retry_after == (1.0, 120.0)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{retry_after: 1s}", "1:24: answers.retry_after"),
        ("{retry_after: [1s]}", "a range has two ends"),
        ("{retry_after: [5s, 1s]}", "ends before it begins"),
        ("{retry_after: [0s, 0s]}", "from 1 second to 1 day"),
        ("{retry_after: [1s, 2d]}", "from 1 second to 1 day"),
        ("{content_type: json}", "'json' is not a media type"),
        ('{content_type: "text/plain\\r\\nX: y"}', "answers.content_type"),
        ("{content_type: application/json}", "1:25: answers.content_type: the body is not JSON; write JSON in 'body'"),
        ("{content_type: application/problem+json, body: '{a: 1}'}", "answers.content_type: the body is not JSON"),
        ("{body: ''}", "write 1 to 65536"),
        ("{body: a, body_file: b}", "'body' is given as well"),
        ("{body_file: missing.json}", "missing.json: No such file"),
        ("{request_id: maybe}", "answers.request_id"),
    ],
)
def test_mistakes_say_where_and_what(tmp_path: Path, text: str, problem: str) -> None:
    found = gateway_problems(tmp_path, f"answers: {text}\n")
    assert any(problem in each for each in found), found
