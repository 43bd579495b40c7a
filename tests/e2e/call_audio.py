"""Records both voices of a call in a browser on one clock: the microphone, and what is played."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import numpy as np
from playwright.async_api import Page

_PROCESSOR = """
registerProcessor('call-audio', class extends AudioWorkletProcessor {
  process([microphone, player]) {
    const silence = new Float32Array(128);
    this.port.postMessage([microphone[0] ?? silence, player[0] ?? silence]);
    return true;
  }
});
"""
_RECORD = """async ([seconds, processor]) => {
  const { call } = window.parley, { context, microphone, player } = call.graph;
  await context.audioWorklet.addModule(URL.createObjectURL(new Blob([processor], { type: 'text/javascript' })));
  const node = new AudioWorkletNode(context, 'call-audio', { numberOfInputs: 2 });
  const blocks = [], delays = [];
  call.addEventListener('delay', ({ detail }) => delays.push(detail));
  node.port.onmessage = ({ data }) => blocks.push(data);
  microphone.connect(node, 0, 0);
  player.connect(node, 0, 1).connect(context.destination);
  while (blocks.length * 128 < seconds * context.sampleRate) await new Promise((done) => setTimeout(done, 100));
  microphone.disconnect(node);
  node.port.onmessage = null;
  const pack = (voice) => {
    const bytes = new Uint8Array(Float32Array.from(blocks.flatMap((block) => [...block[voice]])).buffer);
    let text = '';
    for (let i = 0; i < bytes.length; i += 32768) text += String.fromCharCode(...bytes.subarray(i, i + 32768));
    return btoa(text);
  };
  return { rateHz: context.sampleRate, microphone: pack(0), played: pack(1), delays };
}"""


@dataclass(frozen=True)
class CallAudio:
    rate_hz: int
    microphone: np.ndarray  # f32 [samples], before encoding
    played: np.ndarray  # f32 [samples], as given to the sound card
    delays: list[dict[str, float]]  # the `delay` events meanwhile, twice a second


async def record_call(page: Page, seconds: float) -> CallAudio:
    """Record the page's call. The page must have been opened with `bypass_csp`."""
    recorded = await page.evaluate(_RECORD, [seconds, _PROCESSOR])
    microphone, played = (
        np.frombuffer(base64.b64decode(recorded[voice]), np.float32) for voice in ("microphone", "played")
    )
    return CallAudio(recorded["rateHz"], microphone, played, recorded["delays"])
