#!/usr/bin/env bash
# English to French, everyday sentences (CC BY 2.0 FR, manythings.org/anki and tatoeba.org).
# DIR/translation/eng-fra.txt.gz is fra.txt of https://www.manythings.org/anki/fra-eng.zip, gzipped.
# 2,000 sources are held out with all their translations, and scored at the end.
source "$(dirname "$0")/common.sh"
dragoman train "$DATA/translation/eng-fra.txt.gz" --out models/french --test 2000 "$@"
dragoman translate models/french "Where did you learn to cook?" --num-hypotheses 3
