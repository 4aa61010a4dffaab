# Read by every example: `--data DIR` says where the public files lie, everything else goes to `dragoman train`.
set -euo pipefail
if [[ ${1-} != --data || $# -lt 2 ]]; then
  sed -n '2,/^[^#]/{s/^# \{0,1\}//p}' "$0"
  echo "usage: $0 --data DIR [options of dragoman train]" >&2
  exit 2
fi
DATA=$2
shift 2
