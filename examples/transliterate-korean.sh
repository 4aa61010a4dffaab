#!/usr/bin/env bash
# English names in Hangul, syllable by syllable (CC0). The third column, a count, is ignored.
# DIR/transliteration/eng-kor-names.{train,dev}.tsv.gz: name TAB syllables with blanks between them TAB count.
# About 14 % of the pairs seen once are wrong (family and given name swapped), so no model reaches 100 %.
source "$(dirname "$0")/common.sh"
dragoman train "$DATA/transliteration/eng-kor-names.train.tsv.gz" --out models/names "$@"
dragoman evaluate models/names "$DATA/transliteration/eng-kor-names.dev.tsv.gz"
dragoman translate models/names washington --num-hypotheses 3
