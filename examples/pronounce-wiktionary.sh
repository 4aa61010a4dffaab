#!/usr/bin/env bash
# Spelling to IPA in 15 languages (CC BY-SA 3.0, Wiktionary through WikiPron).
# DIR/g2p/sigmorphon2020/CODE_{train,dev}.tsv.gz are those of https://github.com/sigmorphon/2020 (task 1), gzipped.
# Choose the language with the variable CODE (ady arm bul dut fre geo gre hin hun ice jpn kor lit rum vie).
source "$(dirname "$0")/common.sh"
CODE=${CODE:-kor}
dragoman train "$DATA/g2p/sigmorphon2020/${CODE}_train.tsv.gz" --out "models/ipa-$CODE" "$@"
dragoman evaluate "models/ipa-$CODE" "$DATA/g2p/sigmorphon2020/${CODE}_dev.tsv.gz"
