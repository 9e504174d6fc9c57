"""The conformance kit, one test per check and model of this plugin."""

from dynplat.testing import parametrize_checks


@parametrize_checks("template")
def test_conformance(check):
    check()
