"""Requests and the answer that loads are made of, of the size that chats usually have."""

import json

MODEL = "gemini-2.5-flash"
QUESTION = (
    "Explain in three sentences why the sky looks blue at noon and red in the evening, "
    "for somebody who has never heard of scattering, and name one experiment that shows it."
)
SYSTEM = "You are a patient teacher. Answer in plain English, without formulas."

NATIVE_PATH = f"/v1beta/models/{MODEL}:generateContent"
NATIVE_STREAM_PATH = f"/v1beta/models/{MODEL}:streamGenerateContent?alt=sse"
CHAT_PATH = "/v1/chat/completions"


def native_request(question: str = QUESTION) -> str:
    return json.dumps({
        "systemInstruction": {"parts": [{"text": SYSTEM}]},
        "contents": [{"role": "user", "parts": [{"text": question}]}],
        "generationConfig": {"temperature": 0.7, "maxOutputTokens": 800},
    })


def chat_request(question: str = QUESTION, stream: bool = False) -> str:
    return json.dumps({
        "model": MODEL,
        "messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}],
        "temperature": 0.7,
        "max_tokens": 800,
        "stream": stream,
    })


# Printed as Google prints it: indented, with a line for each bracket. No quote or dollar sign may stand in it, since
# it becomes a string of nginx's configuration.
ANSWER = json.dumps({
    "candidates": [{
        "content": {
            "parts": [{
                "text": "Sunlight is a mix of colours, and air turns the blue part aside far more than the red. "
                "At noon that blue reaches you from all over the sky; in the evening the light has come through so "
                "much air that mostly red is left."
            }],
            "role": "model",
        },
        "finishReason": "STOP",
        "index": 0,
    }],
    "usageMetadata": {"promptTokenCount": 52, "candidatesTokenCount": 51, "totalTokenCount": 103},
    "modelVersion": MODEL,
    "responseId": "b3BhcXVlLWlkLW9mLWFuc3dlcg",
}, indent=2)

ANSWER_HEADERS = [
    ("Vary", "Origin, X-Origin, Referer"),
    ("X-XSS-Protection", "0"),
    ("X-Frame-Options", "SAMEORIGIN"),
    ("X-Content-Type-Options", "nosniff"),
    ("Server-Timing", "gfet4t7; dur=612"),
]
