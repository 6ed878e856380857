"""Rows as a file: CSV, XLSX or NDJSON, written row by row, so that memory does not grow with the number of rows.

A cell is text, a number, an amount, a moment, a duration in seconds, yes or no, or None. CSV is safe to open in a
spreadsheet: text that would begin a formula gets an apostrophe; in XLSX text is never anything else.
"""

import csv
import io
import re
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from decimal import Decimal
from typing import IO, Literal, Protocol
from xml.sax.saxutils import escape

import orjson

Kind = Literal["text", "number", "amount", "moment", "duration", "flag"]
Format = Literal["csv", "xlsx", "ndjson"]
Cell = str | int | float | Decimal | datetime | bool | None
FORMATS: dict[Format, str] = {
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "ndjson": "application/x-ndjson",
}
ROWS_A_SHEET = 1_048_575  # beside the head: what a spreadsheet can hold
_FORMULA = re.compile(r"[=+\-@\t\r]")
_NUMBER = re.compile(r"\+?\d+", re.ASCII)  # a telephone number: no formula, and to be left as it is
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")
_DAY_ZERO = datetime.fromisoformat("1899-12-30")  # of a spreadsheet's calendar, in the clock of the cell


@dataclass(frozen=True, slots=True)
class Head:
    """A column: its name for programs, its label for people."""

    name: str
    label: str
    kind: Kind = "text"


class Writer(Protocol):
    def row(self, cells: Sequence[Cell]) -> None: ...

    def close(self) -> None:
        """Ends the file; nothing is whole before."""


def writer_of(form: Format, file: IO[bytes], heads: Sequence[Head], zone: tzinfo) -> Writer:
    match form:
        case "csv":
            return CSVWriter(file, heads, zone)
        case "xlsx":
            return XLSXWriter(file, heads, zone)
        case "ndjson":
            return NDJSONWriter(file, heads, zone)


def write_all(
    form: Format, file: IO[bytes], heads: Sequence[Head], rows: Iterable[Sequence[Cell]], zone: tzinfo
) -> None:
    writer = writer_of(form, file, heads, zone)
    for row in rows:
        writer.row(row)
    writer.close()


class CSVWriter:
    """RFC 4180 in UTF-8 with its mark, which spreadsheets need; moments are RFC 3339: no hour is meant twice."""

    def __init__(self, file: IO[bytes], heads: Sequence[Head], zone: tzinfo) -> None:
        self._text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=False)
        self._rows = csv.writer(self._text)
        self._kinds = [head.kind for head in heads]
        self._zone = zone
        self._text.write("\ufeff")
        self._rows.writerow([head.label for head in heads])

    def row(self, cells: Sequence[Cell]) -> None:
        self._rows.writerow([self._shown(cell, kind) for cell, kind in zip(cells, self._kinds, strict=True)])

    def close(self) -> None:
        self._text.flush()
        self._text.detach()

    def _shown(self, cell: Cell, kind: Kind) -> str | int | float | Decimal:
        if cell is None:
            return ""
        if isinstance(cell, bool):
            return "yes" if cell else "no"
        if isinstance(cell, datetime):
            return cell.astimezone(self._zone).isoformat(timespec="seconds")
        if kind == "duration" and isinstance(cell, int):
            return clock_of(cell)
        return safe(cell) if isinstance(cell, str) else cell


def safe(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def clock_of(seconds: int) -> str:
    """0:09:28: hours, minutes, seconds."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


class NDJSONWriter:
    """One object a line; amounts are strings, durations seconds, moments RFC 3339 in the zone."""

    def __init__(self, file: IO[bytes], heads: Sequence[Head], zone: tzinfo) -> None:
        self._file = file
        self._names = [head.name for head in heads]
        self._zone = zone

    def row(self, cells: Sequence[Cell]) -> None:
        line = dict(zip(self._names, map(self._value, cells), strict=True))
        self._file.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))

    def close(self) -> None:
        """Each line is whole by itself."""

    def _value(self, cell: Cell) -> str | int | float | bool | None:
        if isinstance(cell, datetime):
            return cell.astimezone(self._zone).isoformat(timespec="milliseconds")
        return str(cell) if isinstance(cell, Decimal) else cell


_SHEETML = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_TYPES = """<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">\
<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>\
<Default Extension="xml" ContentType="application/xml"/>\
<Override PartName="/xl/workbook.xml" ContentType="{sheetml}.sheet.main+xml"/>\
<Override PartName="/xl/styles.xml" ContentType="{sheetml}.styles+xml"/>\
{sheets}</Types>"""
_SHEET_TYPE = f'<Override PartName="/xl/worksheets/sheet{{n}}.xml" ContentType="{_SHEETML}.worksheet+xml"/>'
_REL = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_RELS = f"""<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">\
<Relationship Id="rId1" Type="{_REL}/officeDocument" Target="xl/workbook.xml"/></Relationships>"""
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
# Cell styles by their place: 0 plain, 1 head, 2 moment, 3 duration, 4 amount.
_STYLES = f"""<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<styleSheet xmlns="{_MAIN}"><numFmts count="3"><numFmt numFmtId="164" formatCode="yyyy\\-mm\\-dd\\ hh:mm:ss"/>\
<numFmt numFmtId="165" formatCode="[h]:mm:ss"/><numFmt numFmtId="166" formatCode="0.00###"/></numFmts>\
<fonts count="2"><font><sz val="11"/><name val="Calibri"/></font>\
<font><b/><sz val="11"/><name val="Calibri"/></font></fonts>\
<fills count="2"><fill><patternFill patternType="none"/></fill>\
<fill><patternFill patternType="gray125"/></fill></fills>\
<borders count="1"><border><left/><right/><top/><bottom/><diagonal/></border></borders>\
<cellStyleXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0"/></cellStyleXfs>\
<cellXfs count="5"><xf numFmtId="0" fontId="0" fillId="0" borderId="0" xfId="0"/>\
<xf numFmtId="0" fontId="1" fillId="0" borderId="0" xfId="0" applyFont="1"/>\
<xf numFmtId="164" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/>\
<xf numFmtId="165" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/>\
<xf numFmtId="166" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/></cellXfs></styleSheet>"""
_SHEET_HEAD = (
    f'<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n<worksheet xmlns="{_MAIN}">'
    '<sheetViews><sheetView workbookViewId="0"><pane ySplit="1" topLeftCell="A2" activePane="bottomLeft"'
    ' state="frozen"/></sheetView></sheetViews><sheetFormatPr defaultRowHeight="15"/><sheetData>'
)
_SHEET_FOOT = "</sheetData></worksheet>"
_BLOCK = 256 * 1024
_LONGEST_TEXT = 32_767  # of a cell


class XLSXWriter:
    """Office Open XML, one sheet after the other as they fill; moments are cells of the zone's own clock."""

    def __init__(self, file: IO[bytes], heads: Sequence[Head], zone: tzinfo) -> None:
        self._archive = zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=4)
        self._kinds = [head.kind for head in heads]
        self._zone = zone
        self._head = "".join(f'<c s="1" t="inlineStr"><is><t>{_xml(head.label)}</t></is></c>' for head in heads)
        self._sheets = 0
        self._open_sheet()

    def row(self, cells: Sequence[Cell]) -> None:
        if self._rows == ROWS_A_SHEET:
            self._close_sheet()
            self._open_sheet()
        self._rows += 1
        self._say(f"<row>{''.join(self._cell(c, k) for c, k in zip(cells, self._kinds, strict=True))}</row>")

    def close(self) -> None:
        self._close_sheet()
        numbers = range(1, self._sheets + 1)
        put = self._archive.writestr
        put("[Content_Types].xml", _types(numbers))
        put("_rels/.rels", _RELS)
        put("xl/styles.xml", _STYLES)
        named = "".join(f'<sheet name="Sheet{n}" sheetId="{n}" r:id="rId{n}"/>' for n in numbers)
        put(
            "xl/workbook.xml",
            '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
            f'<workbook xmlns="{_MAIN}" xmlns:r="{_REL}"><sheets>{named}</sheets></workbook>',
        )
        related = "".join(
            f'<Relationship Id="rId{n}" Type="{_REL}/worksheet" Target="worksheets/sheet{n}.xml"/>' for n in numbers
        )
        styles = f'<Relationship Id="rId{self._sheets + 1}" Type="{_REL}/styles" Target="styles.xml"/>'
        put(
            "xl/_rels/workbook.xml.rels",
            '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
            '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
            f"{related}{styles}</Relationships>",
        )
        self._archive.close()

    def _open_sheet(self) -> None:
        self._sheets += 1
        self._rows = 0
        self._member = self._archive.open(f"xl/worksheets/sheet{self._sheets}.xml", "w", force_zip64=True)
        self._waiting: list[str] = []
        self._size = 0
        self._say(f"{_SHEET_HEAD}<row>{self._head}</row>")

    def _close_sheet(self) -> None:
        self._say(_SHEET_FOOT)
        self._flush()
        self._member.close()

    def _say(self, text: str) -> None:
        self._waiting.append(text)
        self._size += len(text)
        if self._size >= _BLOCK:
            self._flush()

    def _flush(self) -> None:
        self._member.write("".join(self._waiting).encode())
        self._waiting.clear()
        self._size = 0

    def _cell(self, cell: Cell, kind: Kind) -> str:
        if cell is None or cell == "":
            return "<c/>"
        if isinstance(cell, bool):
            return f'<c t="b"><v>{int(cell)}</v></c>'
        if isinstance(cell, datetime):
            return f'<c s="2"><v>{_serial(cell, self._zone)}</v></c>'
        if kind == "duration" and isinstance(cell, int):
            return f'<c s="3"><v>{cell / 86_400:.10f}</v></c>'
        if isinstance(cell, Decimal):
            return f'<c s="4"><v>{cell}</v></c>'
        if isinstance(cell, int | float):
            return f"<c><v>{cell}</v></c>"
        return f'<c t="inlineStr"><is><t xml:space="preserve">{_xml(cell[:_LONGEST_TEXT])}</t></is></c>'


def _types(numbers: Iterable[int]) -> str:
    return _TYPES.format(sheetml=_SHEETML, sheets="".join(_SHEET_TYPE.format(n=n) for n in numbers))


def _serial(moment: datetime, zone: tzinfo) -> str:
    clock = moment.astimezone(zone).replace(tzinfo=None)
    return f"{(clock - _DAY_ZERO) / timedelta(days=1):.8f}"


def _xml(text: str) -> str:
    return escape(_NOT_XML.sub("\ufffd", text))
