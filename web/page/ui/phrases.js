/**
 * Finds phrases in a stream of text pieces, and gives them times. Pieces keep their own spaces: “3.”, “5 dollars” is one number,
 * and nothing is put between two phrases that the model did not say. Pure.
 *
 * @typedef {'same' | 'phrase' | 'paragraph' | 'interruption'} Relation of a piece to what was said before it
 * @typedef {object} Phrase
 * @property {number} startS
 * @property {number} endS after `startS`; no phrase overlaps the next
 * @property {string} text ends with a dash where it was interrupted
 * @property {'' | ' ' | '\n\n'} lead what stands between it and the phrase before
 */

/** A silence this long ends a phrase. */
export const PAUSE_S = 1.2;
/** What a speaker's last words end with who was interrupted. */
export const DASH = '—';

const PARAGRAPH_PAUSE_S = 2.5;
const INTERRUPTION_PAUSE_S = 0.7; // then a new sentence begins though the last one has no end
const PHRASE_END = /[.!?…。！？]["”’)]?\s*$/;
const WIDE_END = /[。！？]["”’)]?\s*$/; // no space follows
const GOES_ON = /^\s*(?:\p{Ll}|\p{P}|$)/u; // as after “U.S.”
const CAPITAL = /^\s*["“‘(¿¡]?\p{Lu}/u;
const MAX_PHRASE = 160; // characters; a speaker who never pauses is announced all the same
const LAST_PIECE_S = 0.6; // assumed duration of a phrase's last piece
const MIN_PHRASE_S = 0.5; // a shorter one could not be read

/** A model may produce any byte: line breaks become spaces, other control characters are dropped. @param {string} piece */
export function cleaned(piece) {
  return piece.replace(/[\t\n\v\f\r\u0085]+/g, ' ').replace(/\p{Cc}/gu, '');
}

/**
 * @param {string} phrase so far
 * @param {string} piece the next one, with its own spaces
 * @param {number} pauseS between the piece before and this one
 * @returns {Relation}
 */
export function relation(phrase, piece, pauseS) {
  if (!phrase.trim()) return pauseS > PARAGRAPH_PAUSE_S ? 'paragraph' : 'same';
  const isComplete = PHRASE_END.test(phrase);
  const isApart = /^\s/.test(piece) || /\s$/.test(phrase);
  if (!isComplete && isApart && pauseS > INTERRUPTION_PAUSE_S && CAPITAL.test(piece)) return 'interruption';
  if (pauseS > PARAGRAPH_PAUSE_S) return 'paragraph';
  if (pauseS > PAUSE_S || WIDE_END.test(phrase)) return 'phrase';
  if (isApart && ((isComplete && !GOES_ON.test(piece)) || phrase.length > MAX_PHRASE)) return 'phrase';
  return 'same';
}

/** @param {string} phrase that was interrupted */
export function withDash(phrase) {
  return phrase.replace(/[\s,;:–—-]*$/, DASH);
}

/**
 * @param {import('./transcript.js').Piece[]} pieces in order
 * @returns {Phrase[]}
 */
export function toPhrases(pieces) {
  /** @type {Phrase[]} */
  const phrases = [];
  let lastS = -Infinity;
  for (const { atS: saidAtS, text } of pieces) {
    const atS = Math.max(0, saidAtS); // a piece may come just before the call's clock starts
    const last = phrases[phrases.length - 1];
    const how = last ? relation(last.text, text, atS - lastS) : 'phrase';
    lastS = atS;
    if (last && (how === 'same' || (how === 'phrase' && atS - last.startS < MIN_PHRASE_S))) {
      last.text += text;
      last.endS = atS + LAST_PIECE_S;
      continue;
    }
    if (last) last.endS = Math.min(last.endS, atS);
    if (last && how === 'interruption') last.text = withDash(last.text);
    const lead = how === 'phrase' ? (/\s$/.test(last?.text ?? ' ') || /^\s/.test(text) ? ' ' : '') : '\n\n';
    phrases.push({ startS: atS, endS: atS + LAST_PIECE_S, text, lead });
  }
  const tidied = phrases.map((phrase) => ({ ...phrase, text: phrase.text.replace(/\s+/g, ' ').trim() }));
  return tidied.filter(({ text }) => text).map((phrase, i) => (i ? phrase : { ...phrase, lead: '' }));
}
