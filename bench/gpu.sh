#!/usr/bin/env bash
# What a machine with an NVIDIA GPU is asked, within nine minutes of an H100: do the tests pass
# there, how fast is it, what do real rows score. The most telling first; each part has its own
# limit, and each result is written to $OUT (default bench/results/gpu) when it is there.
#   bash bench/gpu.sh            the folder of ISIC 2017 in $ISIC2017_DIR
#   bash bench/gpu.sh --quick    minutes on any machine, to see that it runs
set -uo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python)}
out=${OUT:-bench/results/gpu}
mkdir -p "$out"
failed=0
part() { # NAME SECONDS COMMAND...
  local name=$1 limit=$2 begun=$SECONDS
  shift 2
  timeout --kill-after=10 "$((scale * limit))" "$@" 2>&1 | tee "$out/$name.txt"
  local status=${PIPESTATUS[0]}
  echo "$name: status $status, $((SECONDS - begun)) s" | tee -a "$out/summary.txt"
  [ "$status" = 0 ] || failed=1
}
scale=1
if [ "${1:-}" = --quick ]; then
  scale=4 bench=(--quick) rows=(3-1 seg-6 --profile demo --data-dir demo -p epochs 1)
else
  bench=() rows=(3-1 1-3 seg-6 1-1 -p '1-1:weights' none)
fi
command -v nvidia-smi >/dev/null && nvidia-smi | tee "$out/nvidia-smi.txt"
part tests 160 "$python" -m pytest -q -p no:cacheprovider -m gpu tests
part speed 170 "$python" -m bench --parts gpu --out "$out/speed.json" "${bench[@]}"
part training 190 "$python" reproduce.py "${rows[@]}" --no-evaluation
for run in model/*/*-s0; do
  [ -e "$run/timing.csv" ] || continue
  name=$(basename "$run")
  "$python" - "$run" <<'PY' >"$out/$name.json" || true
import json, pathlib, sys
run = pathlib.Path(sys.argv[1])
scores = {path.name: json.loads(path.read_text()) for path in run.glob("scores-*.json")}
tables = {name: (run / name).read_text() for name in ("history.csv", "timing.csv")}
print(json.dumps({"config": json.loads((run / "config.json").read_text()), **scores, **tables}))
PY
done
exit "$failed"
