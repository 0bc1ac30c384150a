"""eval.yaml: what a benchmark on the Hub is scored on."""

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
