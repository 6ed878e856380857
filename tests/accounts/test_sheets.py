"""Files of rows, read again as a spreadsheet or a program reads them."""

import csv
import io
import json
import zipfile
from datetime import UTC, datetime
from decimal import Decimal
from xml.etree import ElementTree
from zoneinfo import ZoneInfo

import pytest

from accounts import sheets
from accounts.sheets import Cell, Format, Head

BERLIN = ZoneInfo("Europe/Berlin")
HEADS = [
    Head("caller", "Caller"), Head("start_time", "Start Time", "moment"), Head("talk", "Talking Time", "duration"),
    Head("cost", "Cost", "amount"), Head("code", "Status Code", "number"), Head("recorded", "Recorded", "flag"),
]  # fmt: skip
# Half past two, twice in one night.
SUMMER, WINTER = (datetime(2026, 10, 25, hour, 30, tzinfo=UTC) for hour in (0, 1))
ROWS: list[list[Cell]] = [
    ["+4930123", SUMMER, 568, Decimal("0.02400"), 0, True],
    ['=HYPERLINK("http://x")', WINTER, 3730, None, 487, False],
    ["", None, None, Decimal("-1.5"), None, None],
]


def written(form: Format, rows: list[list[Cell]] = ROWS, heads: list[Head] = HEADS) -> bytes:
    file = io.BytesIO()
    sheets.write_all(form, file, heads, rows, BERLIN)
    return file.getvalue()


def test_csv_is_what_a_spreadsheet_reads() -> None:
    text = written("csv").decode("utf-8-sig")
    assert list(csv.reader(io.StringIO(text))) == [
        ["Caller", "Start Time", "Talking Time", "Cost", "Status Code", "Recorded"],
        ["+4930123", "2026-10-25T02:30:00+02:00", "0:09:28", "0.02400", "0", "yes"],
        ['\'=HYPERLINK("http://x")', "2026-10-25T02:30:00+01:00", "1:02:10", "", "487", "no"],
        ["", "", "", "-1.5", "", ""],
    ]
    assert written("csv").startswith(b"\xef\xbb\xbfCaller,")


@pytest.mark.parametrize(
    "text", ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "+49 30-cmd|' /C calc'!A0", "-", "+"]
)
def test_text_that_would_begin_a_formula_begins_with_an_apostrophe(text: str) -> None:
    assert sheets.safe(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "Anna", "1+1", "+4930123", "49301", "'=1", " x", "a=b"])
def test_other_text_and_telephone_numbers_stay_as_they_are(text: str) -> None:
    assert sheets.safe(text) == text


def test_ndjson_is_one_object_a_line() -> None:
    assert [json.loads(line) for line in written("ndjson").splitlines()] == [
        {
            "caller": "+4930123", "start_time": "2026-10-25T02:30:00.000+02:00", "talk": 568, "cost": "0.02400",
            "code": 0, "recorded": True,
        },
        {
            "caller": '=HYPERLINK("http://x")', "start_time": "2026-10-25T02:30:00.000+01:00", "talk": 3730,
            "cost": None, "code": 487, "recorded": False,
        },
        {"caller": "", "start_time": None, "talk": None, "cost": "-1.5", "code": None, "recorded": None},
    ]  # fmt: skip


def cells(data: bytes, sheet: int = 1) -> list[list[tuple[str, str, str]]]:
    """Each cell as its type, its style and its text."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        for name in archive.namelist():
            ElementTree.fromstring(archive.read(name))  # noqa: S314 - our own
        root = ElementTree.fromstring(archive.read(f"xl/worksheets/sheet{sheet}.xml"))  # noqa: S314
    space = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
    return [
        [(cell.get("t", ""), cell.get("s", ""), "".join(cell.itertext())) for cell in row.iter(f"{space}c")]
        for row in root.iter(f"{space}row")
    ]


def test_xlsx_holds_types_and_no_formula() -> None:
    head, first, second, third = cells(written("xlsx"))
    assert head[0] == ("inlineStr", "1", "Caller")
    assert first == [
        ("inlineStr", "", "+4930123"),
        ("", "2", "46320.10416667"),  # 25 October 2026, 2:30 by the zone's clock
        ("", "3", "0.0065740741"),
        ("", "4", "0.02400"),
        ("", "", "0"),
        ("b", "", "1"),
    ]
    assert second[0] == ("inlineStr", "", '=HYPERLINK("http://x")')
    assert third == [("", "", ""), ("", "", ""), ("", "", ""), ("", "4", "-1.5"), ("", "", ""), ("", "", "")]
    assert b"<f>" not in written("xlsx")


def test_xlsx_takes_any_text() -> None:
    odd = 'a<b>&"\x00\x0b\ud800\uffff ☎ ' + "x" * 40_000
    (_, (cell,)) = cells(written("xlsx", [[odd]], [Head("t", "T")]))
    assert cell[2].startswith('a<b>&"\ufffd\ufffd\ufffd\ufffd ☎ x')
    assert len(cell[2]) == 32_767


def test_xlsx_goes_on_in_another_sheet_when_one_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheets, "ROWS_A_SHEET", 2)
    data = written("xlsx", [[str(number)] for number in range(5)], [Head("t", "T")])
    shown = [[row[0][2] for row in cells(data, sheet)] for sheet in (1, 2, 3)]
    assert shown == [["T", "0", "1"], ["T", "2", "3"], ["T", "4"]]
