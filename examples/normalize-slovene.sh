#!/usr/bin/env bash
# Slovene in the old Bohorič spelling to today's (CC BY-SA 4.0, the goo300k corpus).
# DIR/normalization/slovene-bohoric.{train,dev}.txt.gz: old spelling TAB modern spelling.
source "$(dirname "$0")/common.sh"
dragoman train "$DATA/normalization/slovene-bohoric.train.txt.gz" --out models/slovene "$@"
dragoman evaluate models/slovene "$DATA/normalization/slovene-bohoric.dev.txt.gz"
