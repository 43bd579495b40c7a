"""Both voices of a call in a browser, on one clock: what the microphone hears and what the loudspeaker plays."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import numpy as np
from playwright.async_api import Page

_PROCESSOR = """
registerProcessor('tap', class extends AudioWorkletProcessor {
  process([microphone, player]) {
    const silence = new Float32Array(128);
    this.port.postMessage([microphone[0] ?? silence, player[0] ?? silence]);
    return true;
  }
});
"""
_TAP = """async ([seconds, processor]) => {
  const { call } = window.parley, { context, microphone, player } = call.graph;
  await context.audioWorklet.addModule(URL.createObjectURL(new Blob([processor], { type: 'text/javascript' })));
  const tap = new AudioWorkletNode(context, 'tap', { numberOfInputs: 2 });
  const blocks = [], delays = [];
  call.addEventListener('delay', ({ detail }) => delays.push(detail));
  tap.port.onmessage = ({ data }) => blocks.push(data);
  microphone.connect(tap, 0, 0);
  player.connect(tap, 0, 1).connect(context.destination);
  while (blocks.length * 128 < seconds * context.sampleRate) await new Promise((done) => setTimeout(done, 100));
  microphone.disconnect(tap);
  tap.port.onmessage = null;
  const pack = (voice) => {
    const bytes = new Uint8Array(Float32Array.from(blocks.flatMap((block) => [...block[voice]])).buffer);
    let text = '';
    for (let i = 0; i < bytes.length; i += 32768) text += String.fromCharCode(...bytes.subarray(i, i + 32768));
    return btoa(text);
  };
  return { rateHz: context.sampleRate, heard: pack(0), played: pack(1), delays };
}"""


@dataclass(frozen=True)
class Tapped:
    rate_hz: int
    heard: np.ndarray  # f32 [samples], the microphone before it is encoded
    played: np.ndarray  # f32 [samples], the answer as the sound card gets it
    delays: list[dict[str, float]]  # what the page showed meanwhile, twice a second


async def tap(page: Page, seconds: float) -> Tapped:
    """Listen in on the page's call. The page must have been opened without its Content-Security-Policy."""
    told = await page.evaluate(_TAP, [seconds, _PROCESSOR])
    heard, played = (np.frombuffer(base64.b64decode(told[voice]), np.float32) for voice in ("heard", "played"))
    return Tapped(told["rateHz"], heard, played, told["delays"])
