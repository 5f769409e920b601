"""States, incarnations and hours from hand-made listings: each rule of the history on its own."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from pipeline.lake import Lake
from tests.lakes import FAILED, Listing, at, node, partial, put
from tests.service import rows


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """An empty lake."""
    return Lake(tmp_path / "lake")


def states(lake: Lake) -> list[tuple[Any, ...]]:
    """(node, state, ended_after, ended_before) of every state, in order of its start."""
    found = rows(lake, "from node_states order by pool_id, node_id, first_observed_at, state")
    return [(r["node_id"], r["state"], r["ended_after"], r["ended_before"]) for r in found]


def ends(lake: Lake) -> list[tuple[Any, ...]]:
    """(node, ended_after, ended_before, ended_by) of every incarnation, the first seen first."""
    found = rows(lake, "from node_incarnations order by node_id, first_observed_at")
    return [(r["node_id"], r["ended_after"], r["ended_before"], r["ended_by"]) for r in found]


def hours(lake: Lake, day: int = 16) -> dict[str, tuple[float, float]]:
    """State -> (hours, certain hours) of one day of November, to the second."""
    found = rows(lake, "from node_hours")
    return {
        r["state"]: (round(r["hours"], 4), round(r["certain_hours"], 4))
        for r in found
        if r["date"] == date(2026, 11, day)
    }


def test_a_state_lasts_from_its_own_start_and_ends_between_two_listings(lake: Lake) -> None:
    """The start is the service's; the end lies between the last observation and the next start."""
    put(lake, "10:00", {"p": [node("a", "idle", "09:00")]})
    put(lake, "10:05", {"p": [node("a", "idle", "09:00")]})
    put(lake, "10:10", {"p": [node("a", "running", "10:07")]})
    assert states(lake) == [
        ("a", "idle", at("10:05"), at("10:07")),
        ("a", "running", at("10:10"), None),
    ]
    starts = rows(lake, "select state_transition_time, next_state from node_states order by 1")
    assert [tuple(row.values()) for row in starts] == [
        (at("09:00"), "running"),
        (at("10:07"), None),
    ]


def test_a_node_is_gone_after_two_complete_listings_without_it(lake: Lake) -> None:
    """One absence proves nothing; two do, and then it was gone by the first."""
    put(lake, "10:00", {"p": [node("a"), node("b")]})
    put(lake, "10:05", {"p": [node("b")]})
    assert ends(lake) == [("a", None, None, None), ("b", None, None, None)]
    assert states(lake)[0] == ("a", "idle", at("10:00"), None)
    put(lake, "10:10", {"p": [node("b")]})
    assert ends(lake)[0] == ("a", at("10:00"), at("10:05"), "absent")
    assert states(lake)[0] == ("a", "idle", at("10:00"), at("10:05"))


def test_a_node_seen_again_with_its_allocation_time_had_not_gone(lake: Lake) -> None:
    """However long it was absent: the same allocation_time is the same incarnation."""
    put(lake, "10:00", {"p": [node("a")]})
    for minute in (5, 10, 15):
        put(lake, f"10:{minute:02}", {"p": []})
    assert ends(lake) == [("a", at("10:00"), at("10:05"), "absent")]
    put(lake, "10:20", {"p": [node("a", "running", "10:12")]})
    assert ends(lake) == [("a", None, None, None)]
    assert states(lake)[0] == ("a", "idle", at("10:00"), at("10:12"))


def test_a_node_is_gone_when_its_pool_is(lake: Lake) -> None:
    """A complete account listing without the pool proves it at once."""
    put(lake, "10:00", {"p": [node("a")], "q": [node("b")]})
    put(lake, "10:05", {"q": [node("b")]})
    assert ends(lake) == [("a", at("10:00"), at("10:05"), "pool_absent"), ("b", None, None, None)]


def test_an_account_without_pools_proves_that_all_are_gone(lake: Lake) -> None:
    """A complete listing of no pools at all is a proof like any other."""
    put(lake, "10:00", {"p": [node("a")]})
    put(lake, "10:05", {})
    assert ends(lake) == [("a", at("10:00"), at("10:05"), "pool_absent")]


@pytest.mark.parametrize(
    "later",
    [
        {"pools": {"p": FAILED}},
        {"pools": {"p": partial()}},
        {"pools": {"p": partial(node("b"))}},
        {"pools": {"p": []}, "scope": "pools"},
        {"pools": {"q": []}, "scope": "pools"},
        {"pools": {"p": partial()}, "source": "import", "pool_listing": "partial"},
        {"pools": {}, "pool_listing": "partial"},
        {"pools": {}, "pool_listing": "failed"},
        {"pools": {}, "source": "usage"},
    ],
    ids=[
        "failed",
        "partial, empty",
        "partial",
        "limited to the pool",
        "limited to another",
        "import",
        "pools partial",
        "pools failed",
        "usage",
    ],
)
def test_what_is_not_complete_proves_no_absence(lake: Lake, later: dict[str, Any]) -> None:
    """However often it is repeated: no one is declared gone, and no state ends."""
    put(lake, "10:00", {"p": [node("a")]})
    for minute in (5, 10, 15):
        put(lake, f"10:{minute:02}", **later)
    assert ends(lake)[0] == ("a", None, None, None)
    assert states(lake)[0] == ("a", "idle", at("10:00"), None)


def test_an_import_made_complete_proves_absence(lake: Lake) -> None:
    """``--complete`` says that the files hold every node of the pool; other pools are untouched."""
    put(lake, "10:00", {"p": [node("a")], "q": [node("b")]})
    for minute in (5, 10):
        put(
            lake,
            f"10:{minute:02}",
            {"p": []},
            source="import",
            scope="pools",
            pool_listing="partial",
        )
    assert ends(lake) == [("a", at("10:00"), at("10:05"), "absent"), ("b", None, None, None)]


def test_proofs_between_failures_add_up(lake: Lake) -> None:
    """Two complete listings are consecutive where only incomplete ones lie between them."""
    put(lake, "10:00", {"p": [node("a")]})
    put(lake, "10:05", {"p": []})
    put(lake, "10:10", {"p": FAILED})
    put(lake, "10:15", {"p": partial()})
    put(lake, "10:20", {"p": []})
    assert ends(lake) == [("a", at("10:00"), at("10:05"), "absent")]


def test_a_partial_listing_that_has_the_node_shows_that_it_is_there(lake: Lake) -> None:
    """Presence needs no complete listing: absences count anew after it."""
    put(lake, "10:00", {"p": [node("a")]})
    put(lake, "10:05", {"p": []})
    put(lake, "10:10", {"p": partial(node("a"))})
    put(lake, "10:15", {"p": []})
    assert ends(lake) == [("a", None, None, None)]
    put(lake, "10:20", {"p": []})
    assert ends(lake) == [("a", at("10:10"), at("10:15"), "absent")]


def test_a_listing_that_began_before_the_node_was_seen_proves_nothing_of_it(lake: Lake) -> None:
    """Another run saw it while the listing was being read: its page may have come before."""
    put(lake, "10:02", {"p": partial(node("a", "idle", "10:01", allocated="10:01"))})
    put(lake, "10:05", {"p": Listing(started="10:00", finished="10:05")})
    put(lake, "10:10", {"p": []})
    assert ends(lake) == [("a", None, None, None)]


def test_a_reused_id_is_another_node(lake: Lake) -> None:
    """Another allocation_time is another incarnation, and the first had gone when it was allocated."""
    put(lake, "10:00", {"p": [node("a", "idle", "09:00", allocated="08:00")]})
    put(lake, "10:05", {"p": [node("a", "idle", "10:04", allocated="10:03")]})
    assert ends(lake) == [("a", at("10:00"), at("10:03"), "id_reused"), ("a", None, None, None)]
    assert states(lake) == [
        ("a", "idle", at("10:00"), at("10:03")),
        ("a", "idle", at("10:05"), None),
    ]


def test_a_node_that_was_absent_before_its_id_was_reused_ended_with_its_absence(lake: Lake) -> None:
    """Two complete listings without it are earlier than the next allocation."""
    put(lake, "10:00", {"p": [node("a")]})
    put(lake, "10:05", {"p": []})
    put(lake, "10:10", {"p": []})
    put(lake, "10:15", {"p": [node("a", "idle", "10:14", allocated="10:13")]})
    assert ends(lake)[0] == ("a", at("10:00"), at("10:05"), "absent")


def test_a_missing_allocation_time_is_the_nearest_of_the_node(lake: Lake) -> None:
    """Of the listings before and after, with no absence between."""
    put(lake, "10:00", {"p": [node("a", "idle", "09:00", allocated="08:00")]})
    put(lake, "10:05", {"p": [node("a", "running", "10:01", allocated=None)]})
    put(lake, "10:10", {"p": [node("a", "idle", "10:06", allocated=None)]})
    put(lake, "10:12", {"p": [node("a", "idle", "10:11", allocated="10:08")]})
    found = rows(lake, "select state, state_transition_time, allocation_time from node_states")
    assert {tuple(row.values()) for row in found} == {
        ("idle", at("09:00"), at("08:00")),
        ("running", at("10:01"), at("08:00")),
        ("idle", at("10:06"), at("10:08")),
        ("idle", at("10:11"), at("10:08")),
    }


def test_a_missing_allocation_time_halfway_is_the_earlier_one(lake: Lake) -> None:
    """As near to the machine before as to the one after: it is the one that was there."""
    put(lake, "10:00", {"p": [node("a", allocated="09:00")]})
    put(lake, "10:05", {"p": [node("a", allocated=None)]})
    put(lake, "10:10", {"p": [node("a", allocated="10:08")]})
    found = rows(
        lake,
        "select allocation_time, last_observed_at from node_incarnations order by allocation_time",
    )
    assert [tuple(row.values()) for row in found] == [
        (at("09:00"), at("10:05")),
        (at("10:08"), at("10:10")),
    ]


def test_a_missing_allocation_time_is_not_looked_for_beyond_an_absence(lake: Lake) -> None:
    """The id may be another node's by then: null is an incarnation of its own."""
    put(lake, "10:00", {"p": [node("a", allocated="08:00")]})
    put(lake, "10:05", {"p": []})
    put(lake, "10:10", {"p": [node("a", allocated=None)]})
    found = rows(lake, "select allocation_time from node_incarnations order by first_observed_at")
    assert [row["allocation_time"] for row in found] == [at("08:00"), None]


def test_a_node_that_never_showed_its_allocation_is_one_incarnation(lake: Lake) -> None:
    """Its hours count from its first state's start: nothing says when it was allocated."""
    for minute in (0, 5):
        put(lake, f"10:{minute:02}", {"p": [node("a", "idle", "09:00", allocated=None)]})
    assert len(ends(lake)) == 1
    assert hours(lake) == {"idle": (round(65 / 60, 4), round(65 / 60, 4))}


def test_a_malformed_row_is_present_and_shows_no_state(lake: Lake) -> None:
    """It keeps a node from being gone, and has no part in its states."""
    bad = node("a", None, None, is_malformed=True, vm_size=None, is_dedicated=None)
    put(lake, "10:00", {"p": [node("a")]})
    put(lake, "10:05", {"p": []})
    put(lake, "10:10", {"p": [bad]})
    put(lake, "10:15", {"p": []})
    assert ends(lake) == [("a", None, None, None)]
    put(lake, "10:20", {"p": []})
    assert ends(lake) == [("a", at("10:10"), at("10:15"), "absent")]
    assert states(lake) == [("a", "idle", at("10:00"), at("10:15"))]


def test_a_malformed_row_without_its_allocation_time_belongs_to_its_neighbour(lake: Lake) -> None:
    """The nearest listing says whose it is."""
    put(lake, "10:00", {"p": [node("a")]})
    put(lake, "10:05", {"p": [node("a", None, None, allocated=None, is_malformed=True)]})
    (found,) = rows(lake, "from node_incarnations")
    assert found["last_observed_at"] == at("10:05")


def test_a_row_without_a_state_or_its_start_shows_no_state(lake: Lake) -> None:
    """The specification requires neither; the node was there, in some state."""
    put(lake, "10:00", {"p": [node("a", "idle", None), node("b", None, "09:00")]})
    assert states(lake) == []
    assert len(ends(lake)) == 2


def test_is_dedicated_null_is_a_group_of_its_own(lake: Lake) -> None:
    """True, false and missing are three groups of hours."""
    nodes = [node(name, "idle", "09:00", is_dedicated=kind, allocated="09:00")
             for name, kind in (("a", True), ("b", False), ("c", None))]  # fmt: skip
    put(lake, "10:00", {"p": nodes})
    found = rows(lake, "select is_dedicated, hours from node_hours order by 1 nulls last")
    assert [tuple(row.values()) for row in found] == [(False, 1.0), (True, 1.0), (None, 1.0)]


def test_observed_at_orders_not_this_machines_clock(lake: Lake) -> None:
    """A clock that jumped back between two runs changes nothing."""
    put(lake, "10:00", {"p": [node("a", "idle", "09:00")]}, local="11:00")
    put(lake, "10:05", {"p": [node("a", "running", "10:02")]}, local="08:00")
    put(lake, "10:10", {"p": []}, local="09:00")
    put(lake, "10:15", {"p": []}, local="07:00")
    assert states(lake) == [
        ("a", "idle", at("10:00"), at("10:02")),
        ("a", "running", at("10:05"), at("10:10")),
    ]


def test_a_date_header_before_a_states_start_is_no_contradiction(lake: Lake) -> None:
    """Date is cut to the second: a state may be observed up to 2 seconds before it began."""
    put(lake, "10:00", {"p": [node("a", "idle", "10:00:00.7", allocated="09:00")]})
    put(lake, "10:05", {"p": [node("a", "running", "10:00:01.9", allocated="09:00")]})
    assert states(lake) == [
        ("a", "idle", at("10:00:00.7"), at("10:00:01.9")),
        ("a", "running", at("10:05"), None),
    ]
    put(lake, "10:10", {"p": [node("a", "idle", "10:04:59", allocated="09:00")]})
    assert states(lake)[1] == ("a", "running", at("10:04:59"), at("10:04:59"))
    total = sum(each for each, _ in hours(lake).values())
    assert total == pytest.approx(70 / 60, abs=1e-3)


def test_hours_of_a_change_seen_within_15_minutes_go_to_the_earlier_state(lake: Lake) -> None:
    """hours last to the next start, certain_hours to the last observation."""
    put(lake, "10:00", {"p": [node("a", "idle", "09:00", allocated="09:00")]})
    put(lake, "10:15", {"p": [node("a", "running", "10:12", allocated="09:00")]})
    assert hours(lake) == {"idle": (1.2, 1.0), "running": (0.05, 0.05)}


def test_hours_of_a_change_over_a_longer_gap_are_unobserved(lake: Lake) -> None:
    """More than 15 minutes between the listings: no one knows what was in between."""
    put(lake, "10:00", {"p": [node("a", "idle", "09:00", allocated="09:00")]})
    put(lake, "10:15:01", {"p": [node("a", "running", "10:12", allocated="09:00")]})
    found = hours(lake)
    assert found["idle"] == (1.0, 1.0)
    assert found["unobserved"] == (0.2, 0.0)


def test_a_gap_over_which_nothing_changed_is_observed(lake: Lake) -> None:
    """The same state with the same start hours later: it was that all the time."""
    put(lake, "10:00", {"p": [node("a", "idle", "09:00", allocated="09:00")]})
    put(lake, "15:00", {"p": [node("a", "idle", "09:00", allocated="09:00")]})
    assert hours(lake) == {"idle": (6.0, 6.0)}


@pytest.mark.parametrize(
    ("absent", "expected"),
    [
        (("10:10", "10:20"), {"idle": (round(7 / 6, 4), 1.0)}),
        (("10:30", "10:40"), {"idle": (1.0, 1.0), "unobserved": (0.5, 0.0)}),
    ],
)
def test_hours_of_a_node_that_went_end_with_its_absence(
    lake: Lake, absent: tuple[str, str], expected: dict[str, tuple[float, float]]
) -> None:
    """Within 15 minutes they are its last state's, over a longer gap unobserved."""
    put(lake, "10:00", {"p": [node("a", "idle", "09:00", allocated="09:00")]})
    for when in absent:
        put(lake, when, {"p": []})
    assert hours(lake) == expected


def test_time_before_the_first_observed_state_is_unobserved(lake: Lake) -> None:
    """The node was there since its allocation, in states no listing showed."""
    put(lake, "10:00", {"p": [node("a", "idle", "09:00", allocated="08:00")]})
    assert hours(lake) == {"idle": (1.0, 1.0), "unobserved": (1.0, 0.0)}


def test_a_state_that_straddles_midnight_counts_in_both_days(lake: Lake) -> None:
    """Each day has its part, and the parts add up to the whole."""
    put(lake, "23:50", {"p": [node("a", "idle", "22:00", allocated="22:00")]})
    put(lake, "1 00:10", {"p": [node("a", "idle", "22:00", allocated="22:00")]})
    put(lake, "1 00:20", {"p": [node("a", "running", "1 00:15", allocated="22:00")]})
    assert hours(lake) == {"idle": (2.0, 2.0)}
    assert hours(lake, 17) == {
        "idle": (0.25, round(10 / 60, 4)),
        "running": (round(5 / 60, 4), round(5 / 60, 4)),
    }
    assert states(lake)[0] == ("a", "idle", at("1 00:10"), at("1 00:15"))


def test_days_without_a_listing_have_their_hours(lake: Lake) -> None:
    """An outage of three days over which nothing changed: every day adds up to 24 hours."""
    put(lake, "12:00", {"p": [node("a")]})
    put(lake, "4 12:00", {"p": [node("a")]})
    assert [hours(lake, day) for day in range(16, 22)] == [
        {"idle": (24.0, 24.0)},
        {"idle": (24.0, 24.0)},
        {"idle": (24.0, 24.0)},
        {"idle": (24.0, 24.0)},
        {"idle": (12.0, 12.0)},
        {},
    ]


def test_accounts_and_pools_keep_apart(lake: Lake) -> None:
    """The same node id in two pools and two accounts is four nodes; one's absence is not another's."""
    for account in ("one", "two"):
        put(lake, "10:00", {"p": [node("a")], "q": [node("a")]}, account=account)
    for minute in (5, 10):
        put(lake, f"10:{minute:02}", {"p": [], "q": [node("a")]}, account="one")
        put(lake, f"10:{minute:02}", {"p": [node("a")], "q": [node("a")]}, account="two")
    found = rows(lake, "from node_incarnations where ended_by is not null")
    assert [(row["account"], row["pool_id"]) for row in found] == [("one", "p")]
    assert len(ends(lake)) == 4


def test_a_pool_created_again_under_its_id_has_other_nodes(lake: Lake) -> None:
    """Gone with the first pool, whatever the second one lists."""
    put(lake, "10:00", {"p": [node("a")]})
    put(lake, "10:05", {})
    put(lake, "10:10", {"p": [node("b", "idle", "10:08", allocated="10:07")]})
    assert ends(lake) == [("a", at("10:00"), at("10:05"), "pool_absent"), ("b", None, None, None)]


def test_a_pool_met_only_in_an_import_is_gone_with_the_next_account_listing(lake: Lake) -> None:
    """The import shows the pool; a complete account listing after it does not have it."""
    put(lake, "10:00", {"p": [node("a")]}, source="import", scope="pools", pool_listing="partial")
    put(lake, "09:00", {"q": []})
    assert ends(lake) == [("a", None, None, None)]
    put(lake, "10:05", {"q": []})
    assert ends(lake) == [("a", at("10:00"), at("10:05"), "pool_absent")]
