"""What must hold of any pool of images: sizes, groups, nesting, and independence."""

from collections import Counter
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from dataset_builders.schema import Item
from dataset_builders.selection import labelled, select, shares
from dataset_builders.tasks import TASKS

PINNED = [
    ("2-2", "train"),
    ("1-0", "train"),
    ("2-1", "train"),
    ("0-0", "train"),
    ("2-0", "train"),
    ("1-1", "train"),
    ("3-0", "test"),
    ("4-0", "test"),
]
SIZES = st.lists(st.integers(1, 9), min_size=1, max_size=60)  # images of each group


def pool(source: str, tasks: list[str], sizes: list[int]) -> list[Item]:
    """A source whose k-th group has sizes[k] images, each for all of `tasks`."""
    return [
        Item(task, source, f"{group}-{image}", f"g{group}", (Path("x"),))
        for group, size in enumerate(sizes)
        for image in range(size)
        for task in tasks
    ]


def places(items: list[Item]) -> dict[str, tuple[str, int]]:
    return {entry.item.id: (entry.split, entry.rank) for entry in select(items)}


@given(SIZES, st.randoms())
def test_order_of_items_plays_no_part(sizes, random):
    items = pool("hc18", ["FH"], sizes)
    shuffled = random.sample(items, len(items))
    assert places(items) == places(shuffled)


@given(SIZES, SIZES)
def test_other_sources_play_no_part(heads, ovaries):
    heads_only = pool("hc18", ["FH"], heads)
    both = heads_only + pool("mmotu", ["OT"], ovaries)
    assert places(heads_only).items() <= places(both).items()


@given(SIZES, SIZES)
def test_a_partner_source_moves_nobody_to_the_other_side(busi, udiat):
    alone = places(pool("busi", ["BC"], busi))
    joined = places(pool("busi", ["BC"], busi) + pool("udiat", ["BC"], udiat))
    assert all(alone[name][0] == side for name, (side, _) in joined.items() if name in alone)


@given(SIZES, SIZES)
def test_no_group_straddles_the_split_in_any_task(camus, hmc):
    placed = select(pool("camus", ["LA", "LV", "MD"], camus) + pool("hmc_qu", ["MD"], hmc))
    sides: dict[tuple[str, str], set[str]] = {}
    for entry in placed:
        sides.setdefault((entry.item.source, entry.item.group), set()).add(entry.split)
    assert all(len(side) == 1 for side in sides.values())


@given(SIZES)
def test_ranks_count_from_zero_in_each_split(sizes):
    placed = select(pool("hc18", ["FH"], sizes))
    for split in ("train", "test"):
        ranks = [entry.rank for entry in placed if entry.split == split]
        assert ranks == list(range(len(ranks)))


@given(SIZES)
def test_a_small_source_is_used_whole_and_split_three_to_one(sizes):
    placed = select(pool("hc18", ["FH"], sizes))
    total = sum(sizes)
    test = sum(entry.split == "test" for entry in placed)
    assert len(placed) == total
    assert abs(test - total / 4) < max(sizes) + 0.5


@settings(max_examples=5)
@given(st.integers(0, 3))
def test_sizes_are_exact_when_enough_is_there(extra):
    items = pool("udiat", ["BC"], [1] * 163) + pool("busi", ["BC"], [1] * 500 + [2 + extra] * 73)
    placed = select(items)
    drawn = Counter((entry.item.source, entry.split) for entry in placed)
    assert drawn[("udiat", "train")] + drawn[("udiat", "test")] == 163
    assert drawn[("busi", "train")] + drawn[("udiat", "train")] == 600
    assert drawn[("busi", "test")] + drawn[("udiat", "test")] == 200


def test_two_ample_sources_give_half_each():
    items = pool("camus", ["MD"], [4] * 500) + pool("hmc_qu", ["MD"], [20] * 109)
    drawn = Counter((entry.item.source, entry.split) for entry in select(items))
    assert drawn == {
        ("camus", "train"): 300,
        ("camus", "test"): 100,
        ("hmc_qu", "train"): 300,
        ("hmc_qu", "test"): 100,
    }


def test_labels_are_shared_by_both_sources():
    """The source with more to choose from must not get the low ranks."""
    items = pool("tn3k", ["TN"], [1] * 3493) + pool("ddti", ["TN"], [2] * 318)
    first = [e.item.source for e in select(items) if e.split == "train"][: labelled(600, "1_8")]
    assert 20 < first.count("tn3k") < 55


def test_partitions_of_600_are_nested_by_rank():
    assert [labelled(600, name) for name in ("1_16", "1_8", "1_4", "full")] == [37, 75, 150, 600]


@given(st.lists(st.integers(0, 3000), min_size=1, max_size=4), st.integers(0, 800))
def test_shares_give_all_that_is_wanted_and_there(available, wanted):
    taken = shares(available, wanted)
    assert sum(taken) == min(sum(available), wanted)
    assert all(0 <= give <= have for give, have in zip(taken, available, strict=True))
    full = [have for give, have in zip(taken, available, strict=True) if give == have]
    rest = [give for give, have in zip(taken, available, strict=True) if give < have]
    if rest:  # who does not give all gives an equal share, and no smaller one than who does
        assert max(rest) - min(rest) <= 1
        assert all(have <= max(rest) + 1 for have in full)


def test_selection_is_pinned():
    """The benchmark is these very choices: a change here is a new benchmark."""
    items = pool("hc18", ["FH"], [1, 2, 3, 1, 1])
    assert [(e.item.source_id, e.split) for e in select(items)] == PINNED


def test_every_task_has_sources_of_the_table():
    assert {source for task in TASKS.values() for source in task.sources} == {
        "busi", "udiat", "hc18", "camus", "hmc_qu", "mmotu", "tn3k", "tg3k", "ddti",
    }  # fmt: skip
