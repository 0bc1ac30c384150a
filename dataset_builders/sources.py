"""The one table of sources, in the order their images appear in the paper's list of data."""

from dataset_builders.busi import BUSI
from dataset_builders.camus import CAMUS
from dataset_builders.ddti import DDTI
from dataset_builders.hc18 import HC18
from dataset_builders.hmc_qu import HMCQU
from dataset_builders.mmotu import MMOTU
from dataset_builders.schema import Source
from dataset_builders.tg3k import TG3K
from dataset_builders.tn3k import TN3K
from dataset_builders.udiat import UDIAT

_SOURCES: tuple[Source, ...] = (
    BUSI(),
    UDIAT(),
    HC18(),
    CAMUS(),
    HMCQU(),
    MMOTU(),
    TN3K(),
    TG3K(),
    DDTI(),
)
SOURCES = {source.name: source for source in _SOURCES}
