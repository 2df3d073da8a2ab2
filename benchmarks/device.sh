#!/usr/bin/env bash
# What a GPU tells about the kernels, within so many seconds (default 500): benchmarks/device.sh [SECONDS] [OPTIONS]
#
# Nothing needs to be installed or built: python3 (or $PYTHON) must have torch for CUDA and its Triton. The findings go to
# $OUT, or to a temporary folder. `--dry` tries the script without a GPU. benchmarks/README.md says more.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
seconds=500
if [ $# -gt 0 ] && [[ $1 != -* ]]; then
  seconds=$1
  shift
fi
if ! [[ $seconds =~ ^[1-9][0-9]{0,5}$ ]]; then
  echo "benchmarks/device.sh: '$seconds' is no number of seconds: benchmarks/device.sh [SECONDS] [OPTIONS]" >&2
  exit 2
fi
if [ -n "${OUT:-}" ]; then
  mkdir -p "$OUT"
  OUT=$(cd "$OUT" && pwd)
  export OUT
fi
cd "$root"
# The script keeps its time by itself. This limit is for a driver that hangs in a call that cannot be ended.
exec timeout --kill-after=10 $((seconds + 30)) "${PYTHON:-python3}" -m benchmarks.device "$seconds" "$@"
