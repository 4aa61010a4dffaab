#!/usr/bin/env bash
# Arabic names in Latin letters (Apache-2.0, Google).
# DIR/transliteration/ar2en-{train,eval}.txt.gz are those of https://github.com/google/transliteration, gzipped.
source "$(dirname "$0")/common.sh"
dragoman train "$DATA/transliteration/ar2en-train.txt.gz" --out models/arabic "$@"
dragoman evaluate models/arabic "$DATA/transliteration/ar2en-eval.txt.gz"
