#!/usr/bin/env bash
# English to Japanese, which is written without spaces (CC BY 2.0 FR, manythings.org/anki and tatoeba.org).
# DIR/translation/eng-jpn.txt.gz is jpn.txt of https://www.manythings.org/anki/jpn-eng.zip, gzipped.
# 2,000 sources are held out and scored at the end, with chrF first.
source "$(dirname "$0")/common.sh"
dragoman train "$DATA/translation/eng-jpn.txt.gz" --out models/japanese --test 2000 "$@"
dragoman translate models/japanese "I like music." --num-hypotheses 3
