"""Where compiled forms of scans stand: behind the names of `dynplat.scan`, chosen in `dynplat.scan.drivers`.

A kernel takes what `fold` takes (a state and a record of raw steps with a leading time axis), gives what `fold` gives,
and brings its own adjoint. None is here yet.
"""
