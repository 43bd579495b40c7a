"""A server that sends every message back unchanged and prints its address: it costs far less than its callers.

Sends the handshake of `/api/chat`, so that `parley load` can call it. Knows nothing else of the protocol.
"""

from __future__ import annotations

import asyncio

from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_create_server


class _Echo(WSListener):
    def on_ws_connected(self, transport: WSTransport) -> None:
        transport.send(WSMsgType.BINARY, b"\x00")

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is WSMsgType.CLOSE:
            transport.send_close()
            transport.disconnect()
        else:
            transport.send(WSMsgType.BINARY, frame.get_payload_as_bytes())


async def main() -> None:
    server = await ws_create_server(lambda _: _Echo(), "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
