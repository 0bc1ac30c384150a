"""eval.yaml: what a benchmark on the Hub is scored on.

The Hub makes a leaderboard only for frameworks on its own list, and usbench is not on it: until it
is, the file tells people and programs the tasks, and the Hub nothing.
"""

from dataset_builders.publish.contents import Contents

_HEAD = """\
name: usbench
description: Segmentation of targets in ultrasound from few labelled images
evaluation_framework: usbench
tasks:
"""


def evaluation(contents: Contents) -> str:
    """One task a configuration, each on its test split."""
    return _HEAD + "".join(
        f"- id: {code}\n  config: {code}\n  split: test\n" for code in contents.manifest["tasks"]
    )
