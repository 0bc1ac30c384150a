"""`usbench list runs`: every run with its score."""

from fake_records import make_record, save_run

from benchmark.listing import listing


def test_runs_are_listed_with_their_mean_dice_and_its_number_of_tasks(tmp_path):
    save_run(tmp_path, make_record(), 0.8)
    save_run(tmp_path, make_record("unet", tasks=("BC", "FH")), 0.6, empty=1)
    header, *lines = listing("runs", tmp_path).splitlines()
    assert header.split("  ")[0] == "run"
    assert "Dice (tasks)" in header
    scores = {line.split()[0]: line.split()[1:3] for line in lines}
    assert scores == {"propl/1_4/seed0": ["80.00", "(8)"], "unet/1_4/seed0": ["45.00", "(2)"]}
    assert " BC FH " in lines[1]


def test_a_run_whose_rows_cannot_be_read_is_listed_all_the_same(tmp_path):
    save_run(tmp_path, make_record(), 0.8).with_suffix(".parquet").unlink()
    assert "unreadable" in listing("runs", tmp_path)


def test_an_empty_folder_says_where_there_are_runs(tmp_path):
    assert listing("runs", tmp_path).endswith("another folder with --results")
    save_run(tmp_path / "mini", make_record(), 0.8)
    assert listing("runs", tmp_path).endswith(f"--results ({tmp_path / 'mini'} holds some)")
