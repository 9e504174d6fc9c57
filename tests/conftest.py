"""Code that runs in a process of its own: Triton reads its environment when it is imported."""

import os
import subprocess
import sys

import pytest

#: Compiles a kernel in Triton for a GPU that need not be there; arguments are told apart by their names.
GPU_CODE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

TYPES = {"mask": "*u8", "singular": "*u8", "lengths": "*i32"}


def gpu_code(kernel, number, **constants):
    types = {
        name: "constexpr" if name in constants else "i32" if name.startswith("num_") or name[-6:] == "_group"
        or name[-4:] == "_row" else TYPES.get(name, "*" + number) for name in kernel.arg_names
    }
    source = ASTSource(kernel, signature=types, constexprs=constants)
    return triton.compile(source, target=GPUTarget("cuda", 80, 32)).asm
"""


@pytest.fixture
def output_of():
    """What a Python program prints; it must succeed."""

    def run(code, **environment):
        inherited = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False, env={**inherited, **environment}
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture
def output_with_gpu_code(output_of, tmp_path):
    """What a program prints that compiles kernels by `gpu_code`."""
    return lambda code: output_of(GPU_CODE + code, TRITON_CACHE_DIR=str(tmp_path))
