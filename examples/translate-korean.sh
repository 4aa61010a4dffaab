#!/usr/bin/env bash
# English to Korean, a small collection (CC BY 2.0 FR, manythings.org/anki and tatoeba.org).
# DIR/translation/eng-kor.txt.gz is kor.txt of https://www.manythings.org/anki/kor-eng.zip, gzipped.
# The third column, the credits, is ignored. 300 sources are held out and scored at the end.
source "$(dirname "$0")/common.sh"
dragoman train "$DATA/translation/eng-kor.txt.gz" --out models/korean --test 300 "$@"
dragoman translate models/korean "I like music." --num-hypotheses 3
