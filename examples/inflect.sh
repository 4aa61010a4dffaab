#!/usr/bin/env bash
# Lemma and features to an inflected form (CC BY-SA 3.0, UniMorph): two source columns, each split in its own way.
# DIR/inflection/LANG.{trn,dev}.gz are those of https://github.com/sigmorphon/2023InflectionST (part 1), gzipped.
# Choose the language with the variable LANGUAGE (deu eng fin spa tur).
source "$(dirname "$0")/common.sh"
LANGUAGE=${LANGUAGE:-tur}
dragoman train "$DATA/inflection/$LANGUAGE.trn.gz" --source 1 --source 2 --target 3 --out "models/inflect-$LANGUAGE" "$@"
dragoman evaluate "models/inflect-$LANGUAGE" "$DATA/inflection/$LANGUAGE.dev.gz"
