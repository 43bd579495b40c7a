/**
 * A call's transcript as a file: plain text, JSON with times, or WebVTT subtitles for a recording. Pure.
 *
 * @typedef {object} CallRecord
 * @property {string} model
 * @property {string} call the server's id of it; '' when unknown
 * @property {number | null} seed with the same choices it repeats the call
 * @property {string} startedAt ISO 8601
 * @property {import('./transcript.js').Piece[]} pieces
 * @property {import('./transcript.js').Gap[]} gaps
 */

import { toPhrases } from './phrases.js';

/** @param {CallRecord} record */
export function toText({ pieces }) {
  const text = toPhrases(pieces).map(({ lead, text: phrase }) => lead + phrase).join('');
  return text && `${text}\n`;
}

/** @param {CallRecord} record */
export function toJson({ model, call, seed, startedAt, pieces, gaps }) {
  const rounded = (/** @type {number} */ seconds) => Math.round(seconds * 1000) / 1000;
  const words = pieces.map(({ atS, text }) => ({ at_s: rounded(atS), text }));
  const phrases = toPhrases(pieces).map(({ startS, endS, text }) => ({ start_s: rounded(startS), end_s: rounded(endS), text }));
  const lost = gaps.map(({ atS, lostS, isPause }) => ({ at_s: rounded(atS), [isPause ? 'paused_s' : 'lost_s']: rounded(lostS) }));
  return `${JSON.stringify({ model, call, seed, started_at: startedAt, phrases, pieces: words, gaps: lost }, null, 1)}\n`;
}

/** @param {CallRecord} record */
export function toVtt({ pieces }) {
  const escaped = (/** @type {string} */ text) => text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');
  const cues = toPhrases(pieces).map(({ startS, endS, text }) => `${stamp(startS)} --> ${stamp(endS)}\n<v Parley>${escaped(text)}\n`);
  return ['WEBVTT\n', ...cues].join('\n');
}

/** @param {number} seconds @returns {string} 00:01:02.345; a call may last for days */
function stamp(seconds) {
  const ms = Math.max(0, Math.round(seconds * 1000));
  const digits = (/** @type {number} */ value, /** @type {number} */ count) => String(Math.floor(value)).padStart(count, '0');
  return `${digits(ms / 3_600_000, 2)}:${digits((ms / 60_000) % 60, 2)}:${digits((ms / 1000) % 60, 2)}.${digits(ms % 1000, 3)}`;
}

/** The kinds of file, each with what makes it and its media type. */
export const FILES = Object.freeze({
  txt: /** @type {const} */ ([toText, 'text/plain']),
  json: /** @type {const} */ ([toJson, 'application/json']),
  vtt: /** @type {const} */ ([toVtt, 'text/vtt']),
});

/** @param {CallRecord} record @param {string} kind */
export function fileName({ startedAt }, kind) {
  return `parley-${startedAt.slice(0, 19).replace(/:/g, '')}.${kind}`;
}
