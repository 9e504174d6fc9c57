"""The contract: a model is a prior and a process."""

from dynplat.model.base import AbstractModel
from dynplat.model.context import Context
from dynplat.model.language import AbstractLanguage, SiteInfo, Sites
from dynplat.model.observations import observations_from
from dynplat.model.requests import check_request
from dynplat.model.summaries import summarise

__all__ = [
    "AbstractLanguage",
    "AbstractModel",
    "Context",
    "SiteInfo",
    "Sites",
    "check_request",
    "observations_from",
    "summarise",
]
