"""What dynplat reads when it starts: records of the models, and where the models are. Import nothing heavy here."""

from dynplat.host import hookimpl
from dynplat.records import Capabilities, ModelEntry

#: Version of dynplat's plugin contract that this plugin is written for.
requires_api = 1

RANDOM_WALK = ModelEntry(
    id="template/random-walk",
    summary="Random walk seen with noise",
    location="dynplat_template.model:RandomWalk",
    capabilities=Capabilities(states=True, multichannel=False),
)


@hookimpl
def dynplat_models():
    """Return the records of this plugin's models."""
    return [RANDOM_WALK]
