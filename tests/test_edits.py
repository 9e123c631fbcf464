"""Lists of edits, as people and spreadsheets write them."""

import json
from pathlib import Path

import pytest

from autodrag.edits import read_edits
from autodrag.errors import InputError


def test_json_and_csv_give_the_same_edits(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(
        json.dumps([{"name": "x", "seed": 4, "handles": [[1, 2], [3, 4]], "targets": [[5, 6], [7, 8]]}])
    )
    (tmp_path / "a.csv").write_text("name,seed,handle_x,handle_y,target_x,target_y\nx,4,1,2,5,6\nx,4,3,4,7,8\n")
    assert read_edits(tmp_path / "a.json") == read_edits(tmp_path / "a.csv")


def test_csv_as_spreadsheets_write_it(tmp_path: Path) -> None:
    plain = "name,seed,handle_x,handle_y,target_x,target_y\nx,3,120.5,150,140,138\nx,3,100,100,105,100\né,4,1,2,3,4\n"
    (tmp_path / "plain.csv").write_bytes(plain.encode())
    wanted = read_edits(tmp_path / "plain.csv")
    assert [(edit.name, len(edit.handles)) for edit in wanted] == [("x", 2), ("é", 1)]
    semicolons = plain.replace(",", ";").replace(".", ",")  # where the comma begins the decimals
    spaced = plain.replace("name", " Name").replace(",", " , ").replace("\n", "\r\n") + ",,,,,\r\n\r\n"
    for data in (
        plain.encode("utf-8-sig"),
        plain.replace(",", "\t").encode("utf-16"),
        semicolons.encode("utf-8-sig"),
        b"sep=;\r\n" + semicolons.replace("\n", "\r\n").encode(),
        spaced.encode("utf-8-sig"),
        plain.replace("x,3", '"x","3"').encode(),
        plain.replace("\n", "\r").encode("utf-8-sig"),  # Excel on a Mac
        plain.upper().replace("X,3", "x,3").replace("É", "é").encode(),
    ):
        (tmp_path / "A.CSV").write_bytes(data)
        assert read_edits(tmp_path / "A.CSV") == wanted
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf[{"name": "x", "handles": [[1, 2]], "targets": [[3, 4]]}]')
    assert read_edits(tmp_path / "a.json")[0].name == "x"


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.json", "{", "not valid JSON"),
        ("a.json", "{}", "list of edits"),
        ("a.json", "[]", "no edits"),
        ("a.json", '[{"handles": [[1, 2]]}]', "Edit 1 .* 'targets' is missing"),
        ("a.json", '[{"handles": 3, "targets": []}]', "Edit 1 .* 'handles'"),
        ("a.json", '[{"name": "../x", "handles": [[1, 2]], "targets": [[1, 2]]}]', "must not be a path"),
        ("a.csv", "x,y\n1,2\n", "no column handle_x"),
        ("a.csv", "handle_x,handle_y,target_x,target_y\n1,2,3,z\n", "Line 2"),
        ("a.csv", "handle_x,handle_y,target_x,target_y\n1,2,3\n", "Line 2"),
        (
            "a.csv",
            "nmae,handle_x,handle_y,target_x,target_y\nx,1,2,3,4\n",
            "unknown column 'nmae'; the columns are",
        ),
        (
            "a.csv",
            "name,seed,handle_x,handle_y,target_x,target_y\nx,1,1,2,3,4\nx,2,1,2,3,4\n",
            "Line 3 .* another seed",
        ),
        (
            "a.json",
            json.dumps([{"name": n, "handles": [[1, 2]], "targets": [[1, 2]]} for n in "xyX"]),
            "Edits 1 and 3 .*'X'",
        ),
        ("a.json", '[{"name": "a\\\\x", "handles": [[1, 2]], "targets": [[1, 2]]}]', "must not be a path"),
        ("a.json", '[{"name": "..", "handles": [[1, 2]], "targets": [[1, 2]]}]', "must not be a path"),
        ("a.json", '[{"name": "", "handles": [[1, 2]], "targets": [[1, 2]]}]', "named ''; a name has 1 to 200 bytes"),
        ("a.json", '[{"name": "a\\ud800", "handles": [[1, 2]], "targets": [[1, 2]]}]', "no control characters"),
        ("a.csv", f"name,handle_x,handle_y,target_x,target_y\n{'é' * 101},1,2,3,4\n", "1 to 200 bytes"),
        ("a.csv", f"name,handle_x,handle_y,target_x,target_y\n{'x' * 200_000},1,2,3,4\n", "not valid CSV"),
        ("a.csv", "handle_x,handle_x,handle_y,target_x,target_y\n1,2,3,4,5\n", "two columns 'handle_x'"),
        ("a.csv", "handle_x,handle_y,target_x,target_y\n1,5,2,5,3,5,4,5\n", "Line 2 .* decimal commas"),
        ("a.json", '[{"name": "Con.b", "handles": [[1, 2]], "targets": [[1, 2]]}]', "Windows reserves for a device"),
        ("a.json", "[" * 100_000, "not valid JSON"),
        ("a.json", f'[{{"handles": [[{"9" * 400}, 2]], "targets": [[1, 2]]}}]', "Edit 1 .* expected a number"),
    ],
)
def test_lists_that_cannot_be_read(tmp_path: Path, name: str, content: str, sentence: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=sentence):
        read_edits(tmp_path / name)


@pytest.mark.parametrize("content", [b"PK\x03\x04 a workbook", "handle_x,handle_y\n1,2\n".encode("utf-16-le")])
def test_files_without_text_are_not_reported_as_wrong_columns(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(InputError, match=r"not a text file but a workbook, or UTF-16 .* save it as CSV in UTF-8"):
        read_edits(tmp_path / "a.csv")
