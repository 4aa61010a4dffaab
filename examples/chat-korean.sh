#!/usr/bin/env bash
# A Korean question-answer chatbot (MIT, Youngsook Song): columns by name from a quoted CSV file.
# DIR/chatbot/korean-chatbot.csv.gz is ChatbotData.csv of https://github.com/songys/Chatbot_data, gzipped.
source "$(dirname "$0")/common.sh"
dragoman train "$DATA/chatbot/korean-chatbot.csv.gz" --source Q --target A --out models/chatbot --test 300 "$@"
dragoman translate models/chatbot "오늘 너무 피곤해" --num-hypotheses 3
