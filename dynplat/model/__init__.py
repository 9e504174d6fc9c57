"""The contract: a model is a prior and a process."""

from dynplat.model.base import AbstractModel
from dynplat.model.context import Context
from dynplat.model.language import AbstractLanguage, SiteInfo, Sites

__all__ = ["AbstractLanguage", "AbstractModel", "Context", "SiteInfo", "Sites"]
