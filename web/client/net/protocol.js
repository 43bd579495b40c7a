/**
 * The messages of Kyutai's `/api/chat`: one kind byte, then the payload. Audio is one raw Opus packet a message, not Ogg.
 * Pure; knows no socket and no codec. The names are those of the server's own table.
 */

/** The first byte of every message. */
export const Kind = Object.freeze({
  HANDSHAKE: 0,
  AUDIO: 1,
  TEXT: 2,
  CONTROL: 3,
  METADATA: 4,
  ERROR: 5,
  PING: 6,
  COLORED_TEXT: 7,
});

/** The WebSocket's subprotocol; and another one, followed by a token, because a browser can send it in no header. */
export const SUBPROTOCOL = 'parley';
export const TOKEN_SUBPROTOCOL = 'parley.token.';

/** The length of one packet, and of one frame; the server answers each frame with one frame. */
export const PACKET_MS = 20;
export const FRAME_MS = 80;
export const PACKETS_PER_FRAME = FRAME_MS / PACKET_MS;

/**
 * @typedef {{type: string, [name: string]: unknown}} ServerEvent the JSON of a METADATA message
 * @typedef {{kind: 'handshake'} | {kind: 'audio', packet: Uint8Array} | {kind: 'text', text: string}
 *   | {kind: 'metadata', event: ServerEvent} | {kind: 'error', text: string} | {kind: 'ping'} | {kind: 'ignored'}} ServerMessage
 */

/**
 * @param {Uint8Array} packet one raw Opus packet
 * @returns {Uint8Array<ArrayBuffer>} the message that carries it
 */
export function encodeAudio(packet) {
  const message = new Uint8Array(1 + packet.byteLength);
  message[0] = Kind.AUDIO;
  message.set(packet, 1);
  return message;
}

/**
 * Never throws: a message that this client does not know or cannot read is `ignored`.
 * @param {ArrayBuffer} message
 * @returns {ServerMessage}
 */
export function decode(message) {
  const bytes = new Uint8Array(message);
  const payload = bytes.subarray(1);
  switch (bytes[0]) {
    case Kind.HANDSHAKE:
      return { kind: 'handshake' }; // no client reads its payload
    case Kind.AUDIO:
      return payload.length ? { kind: 'audio', packet: payload } : { kind: 'ignored' };
    case Kind.TEXT:
      return { kind: 'text', text: utf8(payload) };
    case Kind.METADATA:
      return metadata(utf8(payload));
    case Kind.ERROR:
      return { kind: 'error', text: utf8(payload) };
    case Kind.PING:
      return { kind: 'ping' };
    default:
      return { kind: 'ignored' };
  }
}

/** @param {Uint8Array} bytes */
function utf8(bytes) {
  return new TextDecoder().decode(bytes);
}

/**
 * @param {string} json
 * @returns {ServerMessage}
 */
function metadata(json) {
  try {
    const event = JSON.parse(json);
    return typeof event?.type === 'string' ? { kind: 'metadata', event } : { kind: 'ignored' };
  } catch {
    return { kind: 'ignored' };
  }
}
