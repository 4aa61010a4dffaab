#!/usr/bin/env bash
# Lemma and features to an inflected form (CC BY-SA 3.0, UniMorph): two source columns, each split in its own way.
# DIR/inflection/CODE.{trn,dev}.gz are those of https://github.com/sigmorphon/2023InflectionST (part 1), gzipped.
# Choose the language with the variable CODE (deu eng fin spa tur).
source "$(dirname "$0")/common.sh"
CODE=${CODE:-tur}
dragoman train "$DATA/inflection/$CODE.trn.gz" --source 1 --source 2 --target 3 --out "models/inflect-$CODE" "$@"
dragoman evaluate "models/inflect-$CODE" "$DATA/inflection/$CODE.dev.gz"
