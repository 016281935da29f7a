"""Whatever is done to a tape's file, it is read or refused with one sentence; it never ends in a traceback."""

from __future__ import annotations

from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.tapes.test_formats import FORMATS, TICKS

from dtms.errors import SettingsError
from dtms_lab.tapes.tape import read_tape

TEXTS = [(case[1], "\n".join(case[2])) for case in (*FORMATS, *TICKS)]
PIECES = st.sampled_from(
    (
        "",
        ",",
        ";",
        "\t",
        '"',
        "\n",
        "nan",
        "-",
        "0",
        "1e309",
        "1e-320",
        "99999999999999999999",
        "é",
        "|",
        " ",
        "#",
        ":",
        "[[",
        "[[]]",
    )
)


def _ends_in_a_tape_or_a_sentence(path: Path) -> None:
    sentence = ""
    try:
        tape = read_tape(path)
    except SettingsError as refused:
        sentence = str(refused)
    if not sentence:
        assert tape.bars or tape.quotes
        return
    assert sentence.startswith(str(path.parent))
    assert "\n" not in sentence


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_a_damaged_file_of_any_exporter_is_read_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    name, text = data.draw(st.sampled_from(TEXTS))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        length = data.draw(st.integers(0, 30))
        text = text[:start] + data.draw(PIECES) + text[start + length :]
    (tmp_path / name).write_text(text, encoding="utf-8")

    _ends_in_a_tape_or_a_sentence(tmp_path / name)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    raw=st.binary(max_size=200), name=st.sampled_from(("EURUSD.csv", "EURUSD.zip", "EURUSD.parquet", "EURUSD.feather"))
)
def test_bytes_of_any_kind_are_refused_with_a_sentence(tmp_path: Path, raw: bytes, name: str) -> None:
    (tmp_path / name).write_bytes(raw)

    _ends_in_a_tape_or_a_sentence(tmp_path / name)
