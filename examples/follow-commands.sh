#!/usr/bin/env bash
# SCAN: commands to actions (BSD, Lake and Baroni 2018). Its lines are no columns, so a pattern finds both sides.
# DIR/scan/{simple,length}.{train,test}.txt.gz are those of https://github.com/brendenlake/SCAN, gzipped.
# Choose the split with the variable SPLIT: simple, or length (test outputs longer than any in training).
source "$(dirname "$0")/common.sh"
SPLIT=${SPLIT:-simple}
dragoman train "$DATA/scan/$SPLIT.train.txt.gz" --pattern 'IN: (.*) OUT: (.*)' --out "models/scan-$SPLIT" "$@"
dragoman evaluate "models/scan-$SPLIT" "$DATA/scan/$SPLIT.test.txt.gz"
dragoman translate "models/scan-$SPLIT" "jump around left twice"
