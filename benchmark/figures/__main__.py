"""The picture of the eight tasks.

python -m benchmark.figures DATA OUT.png      one image of each task, its mask outlined
"""

import sys
from pathlib import Path

from benchmark.dataset import open_dataset
from benchmark.figures.overview import tasks_picture

if len(sys.argv) != 3:
    sys.exit(__doc__)
tasks_picture(open_dataset(Path(sys.argv[1])), Path(sys.argv[2]))
