"""An upstream whose streams tell the time: every event carries the moment at which it was sent.

Arguments: the port, the number of events of a stream, and the gap between two of them in milliseconds.
"""

import asyncio
import json
import sys
import time


def event(finish: str | None = None) -> bytes:
    candidate = {"content": {"parts": [{"text": f"@{time.monotonic_ns()}@"}], "role": "model"}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    data = f"data: {json.dumps({'candidates': [candidate]})}\r\n\r\n".encode()
    return b"%x\r\n%s\r\n" % (len(data), data)


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, events: int, gap: float) -> None:
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            lines = head.decode().lower().splitlines()
            await reader.readexactly(next(int(line[15:]) for line in lines if line.startswith("content-length:")))
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
            for number in range(events):
                await asyncio.sleep(gap)
                writer.write(event("STOP" if number == events - 1 else None))
                await writer.drain()
            writer.write(b"0\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def serve(port: int, events: int, gap_ms: int) -> None:
    server = await asyncio.start_server(
        lambda reader, writer: answer(reader, writer, events, gap_ms / 1000), "127.0.0.1", port
    )
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(*map(int, sys.argv[1:4])))
