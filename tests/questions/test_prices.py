"""The price file: what it may say, how it is refused, and the table it becomes."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline import cli, query
from pipeline.lake import Lake
from pipeline.query import prices
from tests.conftest import PROJECT
from tests.lakes import node, put

HEADER = "vm_size,kind,price_per_hour,currency\n"


def written(folder: Path, text: str | bytes) -> Path:
    """A price file with this text."""
    path = folder / "prices.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_a_file_is_read(tmp_path: Path) -> None:
    """Columns in any order, either way to mark spot, comments, empty lines, a byte order mark."""
    text = (
        "\ufeff# of our agreement\r\n"
        "Currency, price_per_hour ,is_dedicated,vm_size,vcpus\r\n"
        "\r\n"
        "eur,0.4,TRUE,Standard_D8s_v5,8\r\n"
        '"USD","0","false","standard_d8s_v5",\r\n'
    )
    expected = [
        {
            "vm_size": "standard_d8s_v5",
            "is_dedicated": True,
            "price_per_hour": 0.4,
            "currency": "EUR",
            "vcpus": 8,
        },
        {
            "vm_size": "standard_d8s_v5",
            "is_dedicated": False,
            "price_per_hour": 0.0,
            "currency": "USD",
            "vcpus": None,
        },
    ]
    found = prices.read_prices(written(tmp_path, text))
    assert expected == found.to_pylist()
    assert prices.SCHEMA == found.schema


def test_a_file_without_rows_prices_nothing(tmp_path: Path) -> None:
    """Its columns are enough."""
    assert 0 == prices.read_prices(written(tmp_path, HEADER)).num_rows


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", ": is empty: its first line names the columns"),
        ("vm_size,kind,price,currency\n", ", line 1: unknown column 'price'; there are: vm_size"),
        ("vm_size,kind,kind\n", ", line 1: column 'kind' stands twice"),
        ("vm_size,kind,currency\n", ", line 1: column 'price_per_hour' is missing"),
        ("vm_size,price_per_hour,currency\n", ", line 1: takes one of the columns 'kind'"),
        (HEADER[:-1] + ",is_dedicated\n", ", line 1: takes one of the columns 'kind'"),
        (HEADER + "a,spot,1\n", ", line 2: has 3 fields, the first line 4"),
        (HEADER + "a,spot,1,EUR,8\n", ", line 2: has 5 fields, the first line 4"),
        (HEADER + "a,low,1,EUR\n", ", line 2: field 'kind': 'low' is not dedicated or spot"),
        (HEADER + "\n,spot,1,EUR\n", ", line 3: field 'vm_size': '' is not the name of a size"),
        (HEADER + "a,spot,-1,EUR\n", ", line 2: field 'price_per_hour': '-1' is not a number"),
        (HEADER + 'a,spot,"0,5",EUR\n', ", line 2: field 'price_per_hour': '0,5' is not a number"),
        (HEADER + "a,spot,nan,EUR\n", ", line 2: field 'price_per_hour': 'nan' is not a number"),
        (HEADER + f"a,spot,{'9' * 400},EUR\n", ", line 2: field 'price_per_hour': '999"),
        (HEADER + "a,spot,1,euro\n", ", line 2: field 'currency': 'euro' is not three letters"),
        (HEADER + "a,spot,1,EUR\nA,spot,2,EUR\n", ", line 3: field 'vm_size': a (spot) stands in"),
        (HEADER + "a,spot,1,EUR\na,spot,1,USD\n", ", line 3: field 'currency': USD, but line 2 pr"),
        (HEADER[:-1] + ",vcpus\na,spot,1,EUR,0\n", ", line 2: field 'vcpus': '0' is not a whole"),
        (
            HEADER[:-1] + ",vcpus\na,spot,1,EUR,8\na,dedicated,1,EUR,4\n",
            ", line 3: field 'vcpus': 4, but line 2 gives a 8",
        ),
        (HEADER + '"a"b,spot,1,EUR\n', ", line 2: is not CSV: "),
        (b"\xff\xfe", ": is not UTF-8 text"),
    ],
)
def test_what_does_not_fit_is_refused_by_file_line_and_field(
    tmp_path: Path, text: str | bytes, told: str
) -> None:
    """The first thing that is wrong, and its place."""
    path = written(tmp_path, text)
    with pytest.raises(prices.PriceError) as error:
        prices.read_prices(path)
    assert str(error.value).startswith(f"{path}{told}")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """So is a directory; connect() says it too."""
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(prices.PriceError, match="cannot be read"):
            query.connect(tmp_path / "lake", prices=path)


def test_the_example_can_be_used() -> None:
    """data/prices.csv prices every size of the demo's fleet, dedicated and spot."""
    from pipeline.emulator import load_fleet_config

    found = prices.read_prices(PROJECT / "data" / "prices.csv").to_pylist()
    sizes = {pool.vm_size for pool in load_fleet_config(None).pools}
    assert {(size, kind) for size in sizes for kind in (True, False)} == {
        (row["vm_size"], row["is_dedicated"]) for row in found
    }


def test_the_table_is_empty_without_a_file_and_stays_through_a_refresh(tmp_path: Path) -> None:
    """Typed, so that every question runs; another file replaces the rows of the one before."""
    first = written(tmp_path, HEADER + "a,spot,1,EUR\nb,spot,2,EUR\n")
    count = "select count(*) from prices"
    with query.connect(tmp_path / "lake") as connection:
        found = connection.table("from prices")
        assert (0, prices.SCHEMA.names) == (found.num_rows, found.column_names)
        assert [field.type for field in prices.SCHEMA] == [field.type for field in found.schema]
        connection.use_prices(first)
        connection.refresh()
        assert [(2,)] == connection.sql(count).fetchall()
        connection.use_prices(written(tmp_path, HEADER + "c,spot,1,EUR\n"))
        assert [(1,)] == connection.sql(count).fetchall()
        with pytest.raises(prices.PriceError):
            connection.use_prices(written(tmp_path, HEADER + "c,spot,x,EUR\n"))
        assert [(1,)] == connection.sql(count).fetchall()
    third = written(tmp_path, HEADER + "c,spot,1,EUR\n")
    with query.connect(tmp_path / "lake", prices=third) as connection:
        assert [(1,)] == connection.sql(count).fetchall()


def test_the_command_refuses_a_bad_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`nodelake ask NAME --prices FILE`: exit 2, and the line that is wrong."""
    monkeypatch.chdir(tmp_path)
    put(Lake(tmp_path / "lake"), "10:00", {"p": [node("a")]})
    path = written(tmp_path, HEADER + "a,spot,-1,EUR\n")
    assert 2 == cli.run(["ask", "node_hours", "--lake", "lake", "--prices", str(path)])
    assert "line 2: field 'price_per_hour'" in capsys.readouterr().err
