#!/usr/bin/env bash
# Task dialogues: answer a user turn (CC BY-SA 4.0, Google, the Schema-Guided Dialogue dataset).
# DIR/chatbot/sgd-dev.tsv.gz has dialogue id, user turn and system turn of the dev part of
# https://github.com/google-research-datasets/dstc8-schema-guided-dialogue. Dialogues are kept whole when the data is split.
source "$(dirname "$0")/common.sh"
dragoman train "$DATA/chatbot/sgd-dev.tsv.gz" --source 2 --target 3 --group-by 1 --out models/tasks --test 0.05 "$@"
dragoman translate models/tasks "I want to find a restaurant in San Jose." --num-hypotheses 3
