/** What the page tells its user: for every failure and every end of a call, a plain sentence and what to do next. */

import { isFull } from '../../client/net/server.js';

/** @typedef {{title: string, advice: string}} Message */

const TRY_AGAIN = 'Press “Start talking” to try again.';

/** @type {Record<import('../../client/failure.js').FailureCode, Message>} */
const FAILURES = {
  insecure: {
    title: 'This page needs https: browsers give other pages no microphone.',
    advice: 'Open this page with https:// in front, or at http://localhost on the server itself.',
  },
  'no-codec': {
    title: 'This browser is too old for calls: it lacks WebCodecs or audio worklets.',
    advice: 'Use a current Chrome, Edge or Firefox on a computer, Chrome on Android, or Safari 26 or newer.',
  },
  'microphone-denied': {
    title: 'The browser blocks the microphone for this page.',
    advice: 'Allow it in the browser’s address bar or site settings, then press “Start talking” again.',
  },
  'microphone-missing': {
    title: 'No microphone was found.',
    advice: 'Plug one in or switch it on, then press “Start talking” again.',
  },
  'microphone-busy': {
    title: 'The microphone could not be opened. Another program may be using it.',
    advice: 'Close the other program or plug the microphone in again, then try again.',
  },
  'microphone-forbidden': {
    title: 'The page around this one does not let it use the microphone.',
    advice: 'Open this page in a tab of its own, or add allow="microphone" to the frame that holds it.',
  },
  'no-sound': {
    title: 'The browser could not start the sound.',
    advice: 'Plug in or switch on a loudspeaker or headphones, let this page play sound, then press “Start talking” again.',
  },
  starting: { title: 'The model is still loading.', advice: 'Wait a few seconds, then try again.' },
  full: { title: 'The server is busy, and its queue is full.', advice: 'Try again in a few minutes.' },
  stopping: { title: 'The server is about to restart.', advice: 'Try again in a minute.' },
  token: {
    title: 'This server needs a token.',
    advice: 'Ask the server’s operator for a token and paste it below, or open the link that contains it.',
  },
  forbidden: {
    title: 'The server does not accept calls from this page.',
    advice: 'Ask the server’s operator for access, or open the server’s own address.',
  },
  unreachable: { title: 'The server does not answer.', advice: 'Check your network and that the server is running, then try again.' },
  'no-websocket': {
    title: 'A proxy may not pass WebSockets: the server answers, but calls cannot connect.',
    advice: 'Try another network, or ask the server’s operator to let WebSockets through.',
  },
  outdated: { title: 'The server was updated after this page was loaded.', advice: 'Reload the page, then start again.' },
  'connection-lost': { title: 'The connection was lost.', advice: `Check your network. ${TRY_AGAIN}` },
  'conversation-lost': {
    title: 'The connection was lost, and the server no longer has the conversation.',
    advice: 'Press “Start talking” to start a new one.',
  },
  refused: { title: 'The server ended the call.', advice: TRY_AGAIN },
  failed: { title: 'Something went wrong on the server.', advice: `You did nothing wrong. ${TRY_AGAIN}` },
  broken: { title: 'Something went wrong in this page or browser.', advice: 'Reload the page and try again.' },
};

/**
 * @param {{code: import('../../client/failure.js').FailureCode, detail: string}} failure
 * @returns {Message}
 */
export function failureMessage({ code, detail }) {
  const { title, advice } = FAILURES[code];
  if (!detail) return { title, advice };
  // The server's words are written for its users; a browser's are for a bug report.
  return code === 'broken' ? { title, advice: `${advice} (${detail})` } : { title: sentence(detail), advice };
}

/** @param {string} reason why the server ended the call, where nothing failed @returns {string} */
export function endMessage(reason) {
  return reason === 'limit' ? 'The call reached its time limit.' : 'The server ended the call.';
}

/** @param {number} position @param {number} aheadS @returns {string} */
export function queueMessage(position, aheadS) {
  if (!(position > 0)) return 'The server is busy. You are in the queue.';
  const place = position === 1 ? 'You are next in the queue' : `You are number ${position} in the queue`;
  return aheadS > 0 ? `${place}, about ${duration(aheadS)} to go.` : `${place}. The call will start by itself.`;
}

/**
 * What a visitor should know before they press the button.
 * @param {import('../../client/net/server.js').ServerInfo} info
 * @returns {string} '' where a call can begin at once
 */
export function busyMessage(info) {
  if (!info.slots || info.running < info.slots) return '';
  if (isFull(info)) return 'The server is busy, and its queue is full. Try again in a few minutes.';
  const waiting = info.waiting ? `${info.waiting} ${info.waiting === 1 ? 'caller waits' : 'callers wait'} already` : 'you would be next';
  return `The server is busy. You would wait in a queue; ${waiting}.`;
}

/** @param {number} leftS @returns {string} */
export function timeLeftMessage(leftS) {
  return leftS > 0 ? `This call ends in ${duration(leftS)}.` : 'The time for this call is up.';
}

/** @param {number} seconds */
function duration(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} seconds`;
  return `${Math.round(seconds / 60)} minutes`;
}

/**
 * @param {{kind: 'microphone' | 'speaker', change: 'changed' | 'lost', label: string}} device
 * @returns {string}
 */
export function deviceMessage({ kind, change, label }) {
  if (kind === 'speaker') return 'The chosen speaker is not available. The call is played on the system default.';
  if (change === 'lost') return 'No microphone is left, so you cannot be heard. Plug one in and choose it in the settings.';
  return `You are now using ${label || 'another microphone'}.`;
}

/** With a capital first and a full stop last. @param {string} text */
function sentence(text) {
  const trimmed = text.trim();
  const capital = trimmed.charAt(0).toUpperCase() + trimmed.slice(1);
  return /[.!?…]$/.test(capital) ? capital : `${capital}.`;
}
