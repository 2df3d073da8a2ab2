"""The GPU kernels compiled for real targets, without a GPU: registers, shared memory, no spills.

Each target has its own process, because `triton_setup` turns Triton's interpreter on in this one.
``python -m tests.backends.triton.test_ahead_of_time sm_90`` prints the table, with the compile time of each kernel in
seconds.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).parents[3]
TARGETS = ("sm_80", "sm_90", "sm_100", "gfx942")


class Limits(NamedTuple):
    """Limits of a kernel, with some margin for the next compiler; above, fewer warps would run at once."""

    registers: int
    shared: int  # bytes per block; sm_90 and later reserve 1024 of them


# The limits on every target for float32; float64 may take more registers, up to the maximum of 255.
LIMITS = {
    "prepare": Limits(72, 4096),
    "sum_rows": Limits(168, 10240),  # 12 warps at once: on an H200 faster than 16 with half the loads
    "top_of_rows": Limits(96, 4096),
    "walk_chunks": Limits(128, 1024),
    "finish": Limits(128, 2048),
    "add_losses": Limits(64, 2048),
    "occupy": Limits(255, 1024),
    "write_rows": Limits(128, 10240),
    "write_by_class": Limits(128, 10240),
    "scale_rows": Limits(96, 2048),
}


@pytest.mark.parametrize("target", TARGETS)
def test_every_kernel_compiles_without_spills(target: str, record_property: Any) -> None:
    if importlib.util.find_spec("triton") is None:
        pytest.skip("Triton is not installed")
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(  # noqa: S603 - this very module
        [sys.executable, "-m", __name__, target], capture_output=True, text=True, check=False, env=environment, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr[-3000:]
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert {row["kernel"] for row in rows} == set(LIMITS)
    for row in rows:
        record_property(f"{target} {row['kernel']} {row['variant']}", row)
        assert row["spills"] == 0, row
        assert row["shared"] <= LIMITS[row["kernel"]].shared, row
        assert row["registers"] <= (255 if "fp64" in row["variant"] else LIMITS[row["kernel"]].registers), row
        assert row["vectors"] > 0 or not row["aligned"], row


# ------------------------------------------------------------------------------------------------- in its own process

_CALLERS = ("callers_labels", "callers_input_lengths", "callers_target_lengths")
_INT64 = (*_CALLERS, "items", "task_counter", "words", "occupancy", "totals")
_INT32 = ("labels", "statuses", "slot_of_class", "item_of_chunk", "top_classes", "kept_e", "end_e")
_REAL = ("fields", "kept_m", "states")
# The specialisation of a launch with contiguous tensors and many classes: all pointers and these strides are
# multiples of 16.
_ALIGNED = ("stride_t", "stride_n", "out_stride_t", "out_stride_n")


VECTORS = r"ld\.global[.\w]*\.v4|ld\.global[.\w]*\.v2\.[bf]64|(?:global|buffer)_load_dwordx4"
"""A load of 16 bytes."""


def variants(lanes: int, target: str) -> list[tuple[Any, str, dict[str, Any], int]]:
    """(kernel, dtype of the emissions, constants, warps), for every variant of a launch."""
    from ctckit.backends.triton import (
        FACTORS_PER_STEP,
        FRAMES_PER_BLOCK,
        FRAMES_PER_STEP,
        LABELS_PER_STEP,
        LOSSES_PER_STEP,
        tiles,
    )
    from ctckit.backends.triton import forward_backward as forward_backward_kernels
    from ctckit.backends.triton import gradient as gradient_kernels
    from ctckit.backends.triton import occupancy as occupancy_kernels
    from ctckit.backends.triton import rows as row_kernels
    from ctckit.backends.triton import sums as sum_kernels

    chosen: list[tuple[Any, str, dict[str, Any], int]] = []

    def add(kernel: Any, dtype: str, warps: int, **constants: Any) -> None:
        chosen.append((kernel, dtype, constants, warps))

    def shape(tile: Any) -> dict[str, int]:
        return {"ROWS": tile.rows, "COLUMNS": tile.columns}

    for concatenated, by_class in ((True, False), (False, True)):
        add(
            row_kernels.prepare,
            "fp32",
            2,
            CONCATENATED=concatenated,
            BY_CLASS=by_class,
            CHUNK=lanes,
            LABELS_PER_STEP=LABELS_PER_STEP,
        )
    for logits in (True, False):
        add(forward_backward_kernels.finish, "fp32", 2, LOGITS=logits, FRAMES_PER_STEP=FRAMES_PER_STEP)
    add(forward_backward_kernels.add_losses, "fp32", 4, LOSSES_PER_STEP=LOSSES_PER_STEP)
    for dtype in ("fp32", "bf16", "fp16", "fp64") if target == "sm_90" else ("fp32", "bf16"):
        size = {"fp32": 4, "fp64": 8}.get(dtype, 2)
        wide = 16 // size
        # Classes, and the alignment of their rows: a tile for each way to choose one.
        chosen_classes = ((5000, wide), (32, wide), (5003, 1), (128_000, wide))
        is_like_others = dtype == "fp16" or (dtype == "bf16" and target != "sm_90")  # but for the size of an element
        for classes, align in chosen_classes[:1] if is_like_others else chosen_classes:
            tile, of_rows = tiles.of_sums(classes, size, lanes), tiles.of_rows(classes, size, lanes)
            aligned = {"stride_c": 1, "ALIGN": align}
            add(sum_kernels.sum_rows, dtype, tile.warps, **aligned, **shape(tile), TILES=tile.tiles)
            for mode in (0, 1, 2) if dtype in ("fp32", "fp64") and classes == 5000 else (0,):
                add(
                    gradient_kernels.write_rows,
                    dtype,
                    of_rows.warps,
                    **aligned,
                    **shape(of_rows),
                    out_stride_c=1,
                    MODE=mode,
                    MEAN=mode < 2,
                    TILES=of_rows.tiles,
                    LABELS=tiles.labels_per_step(of_rows, lanes),
                )
        for classes, align in ((1024, wide), (1023, 1), (32, wide)):
            tile = tiles.of_classes(classes, size, lanes)
            for mode in (0, 1, 2) if dtype == "fp32" and classes == 1024 else (0,):
                constants = {"stride_c": 1, "out_stride_c": 1, "MODE": mode, "MEAN": mode < 2, "ALIGN": align}
                add(gradient_kernels.write_by_class, dtype, tile.warps, **constants, **shape(tile))
        for classes, align in ((5000, wide), (31, 1)):
            tile = tiles.of_scale(classes, size, lanes)
            constants = {"stride_c": 1, "ALIGN": align, "ITEMS": FACTORS_PER_STEP}
            add(gradient_kernels.scale_rows, dtype, tile.warps, **constants, **shape(tile))
        add(sum_kernels.top_of_rows, dtype, 4, ROWS=16, COLUMNS=32)
    for dtype in ("fp32", "bf16", "fp64") if target == "sm_90" else ("fp32",):
        walk = {"CHUNK": lanes, "FRAMES_PER_BLOCK": FRAMES_PER_BLOCK}
        for directions, chained in ((2, True), (2, False), (1, True), (1, False)) if dtype == "fp32" else ((2, True),):
            polling = {"DIRECTIONS": directions, "CHAINED": chained, "POLLS": 1 << 25}
            add(forward_backward_kernels.walk_chunks, dtype, 1, **walk, **polling)
        for by_class, states in ((False, False), (True, False), (True, True)) if dtype == "fp32" else ((False, False),):
            add(occupancy_kernels.occupy, dtype, 1, **walk, BY_CLASS=by_class, STATES=states)
    return chosen


def compiled(kernel: Any, dtype: str, constants: dict[str, Any], warps: int, target: Any) -> Any:
    """The kernel's binary, for the argument types of a launch."""
    import triton
    import triton.language as tl

    real = "fp64" if dtype == "fp64" else "fp32"
    if "REAL" in kernel.arg_names:
        constants = {**constants, "REAL": getattr(tl, f"float{real[2:]}")}
    types = {
        **dict.fromkeys(_INT64, "*i64"),
        **dict.fromkeys(_INT32, "*i32"),
        **dict.fromkeys(_REAL, "*" + real),
        **dict.fromkeys(("x", "out"), "*" + dtype),
        "losses": "*fp64",
        "end_m": "*fp64",
        "result": "*fp32",
        "scale": "*fp32",
        **dict.fromkeys(constants, "constexpr"),
    }
    signature = {name: types.get(name, "i32") for name in kernel.arg_names}
    attributes = {
        (i,): [["tt.divisibility", 16]]
        for i, name in enumerate(kernel.arg_names)
        if signature[name].startswith("*")
        or (name in _ALIGNED and not any(p.name == name and p.do_not_specialize for p in kernel.params))
    }
    source = triton.compiler.ASTSource(fn=kernel, signature=signature, constexprs=constants, attrs=attributes)
    return triton.compile(source, target=target, options={"num_warps": warps, "enable_fp_fusion": True})


def usage(binary: Any) -> dict[str, int]:
    """Registers per thread, bytes of shared memory per block, spilled bytes or registers."""
    if "amdgcn" in binary.asm:
        text = binary.asm["amdgcn"]

        def field(name: str) -> int:
            found = re.search(rf"\.{name}:\s+(\d+)", text)
            assert found, name
            return int(found[1])

        # If the private segment, in memory, is empty, scalar registers spill into lanes of vector registers only.
        spills = field("vgpr_spill_count") + field("private_segment_fixed_size")
        return {"registers": field("vgpr_count"), "shared": field("group_segment_fixed_size"), "spills": spills}
    import triton

    # A function without spills has no frame on the stack.
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    with tempfile.TemporaryDirectory() as folder:
        cubin = Path(folder, "kernel.cubin")
        cubin.write_bytes(binary.asm["cubin"])
        text = subprocess.run([tool, "-res-usage", cubin], capture_output=True, text=True, check=True).stdout  # noqa: S603
    found = dict(re.findall(r"(REG|STACK|SHARED|LOCAL):(\d+)", text))
    return {
        "registers": int(found["REG"]),
        "shared": int(found["SHARED"]) + int(binary.metadata.shared),
        "spills": int(found["STACK"]) + int(found["LOCAL"]),
    }


def main(target: str) -> None:
    """Compile all variants for one target and print their resources."""
    import triton

    amd = target.startswith("gfx")
    gpu = triton.backends.compiler.GPUTarget(
        "hip" if amd else "cuda", target if amd else int(target[3:]), 64 if amd else 32
    )
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TRITON_CACHE_DIR"] = cache
        for kernel, dtype, constants, warps in variants(gpu.warp_size, target):
            start = time.perf_counter()
            binary = compiled(kernel, dtype, constants, warps, gpu)
            seconds = round(time.perf_counter() - start, 2)
            variant = " ".join([dtype, *(f"{k}={int(v)}" for k, v in constants.items() if "stride" not in k)])
            row = {"kernel": kernel.__name__, "variant": variant, **usage(binary), "seconds": seconds}
            code = binary.asm["amdgcn"] if amd else binary.asm["ptx"]
            row["vectors"] = len(re.findall(VECTORS, code))
            # In these, threads can load 16 bytes of a row at once, and there is enough for each thread.
            row["aligned"] = constants.get("ALIGN", 1) > 1 and constants["COLUMNS"] > 32 and not constants.get("MODE")
            print(json.dumps(row), flush=True)  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1])
