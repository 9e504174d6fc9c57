"""The contract: a model is a prior and a process."""

from dynplat.model.base import AbstractModel
from dynplat.model.context import Context
from dynplat.model.language import AbstractLanguage, Dims, SiteInfo, Sites, check_coords, check_dims
from dynplat.model.observations import Populations, observations_from, populations_of, rows_of
from dynplat.model.requests import check_request
from dynplat.model.summaries import summarise

__all__ = [
    "AbstractLanguage",
    "AbstractModel",
    "Context",
    "Dims",
    "Populations",
    "SiteInfo",
    "Sites",
    "check_coords",
    "check_dims",
    "check_request",
    "observations_from",
    "populations_of",
    "rows_of",
    "summarise",
]
