"""The room is cheap to import."""

import subprocess
import sys

import dynplat.data


def test_importing_the_room_loads_no_tables():
    code = (
        "import sys, dynplat, dynplat.data, dynplat.data.catalogue;"
        "heavy = {'pandas', 'xarray', 'pyarrow', 'zarr', 'torch', 'jax'} & set(sys.modules);"
        "sys.exit(', '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_public_name_is_there():
    for name in dynplat.data.__all__:
        assert getattr(dynplat.data, name) is not None
    assert dir(dynplat.data) == dynplat.data.__all__
