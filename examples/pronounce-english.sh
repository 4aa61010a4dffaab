#!/usr/bin/env bash
# English words to phones (BSD, Carnegie Mellon University): two blanks between the columns.
# DIR/g2p/cmudict-{train,dev}.txt.gz come from the CMU Pronouncing Dictionary without stress, split as by Toshniwal and Livescu (2016).
# A word with several pronunciations is repeated; any of them counts as right.
source "$(dirname "$0")/common.sh"
dragoman train "$DATA/g2p/cmudict-train.txt.gz" --separator "  " --out models/cmudict "$@"
dragoman evaluate models/cmudict "$DATA/g2p/cmudict-dev.txt.gz"
dragoman translate models/cmudict DRAGOMAN --num-hypotheses 3
