/** What people are told: for every state and every way a call can fail or end, one plain sentence and what to do. */

/** @typedef {{title: string, advice: string}} Sentence */

const AGAIN = 'Press “Start talking” to try again.';

/** @type {Record<import('../failure.js').FailureCode, Sentence>} */
const FAILURES = {
  insecure: {
    title: 'Browsers only lend the microphone to pages opened over https.',
    advice: 'Open this page with https:// in front, or at http://localhost on the server itself.',
  },
  'no-codec': {
    title: 'This browser is too old for calls: it lacks WebCodecs or audio worklets.',
    advice: 'Use a current Chrome, Edge or Firefox on a computer, Chrome on Android, or Safari 26 or newer.',
  },
  'microphone-denied': {
    title: 'The microphone is blocked for this page.',
    advice: 'Allow it in the browser’s address bar or site settings, then press “Start talking” again.',
  },
  'microphone-missing': {
    title: 'No microphone was found.',
    advice: 'Plug one in or switch it on, then press “Start talking” again.',
  },
  'microphone-busy': {
    title: 'The microphone would not start; another program may be using it.',
    advice: 'Close the other program or unplug and replug the microphone, then try again.',
  },
  'microphone-lost': {
    title: 'The microphone was disconnected.',
    advice: 'Plug it back in, then press “Start talking” to call again.',
  },
  'no-sound': {
    title: 'The sound would not start.',
    advice: 'Plug in or switch on a loudspeaker or headphones, let this page play sound, then press “Start talking” again.',
  },
  starting: { title: 'The model is still being loaded.', advice: 'Wait a few seconds, then try again.' },
  full: { title: 'Every line is taken, and the queue is full.', advice: 'Try again in a few minutes.' },
  stopping: { title: 'The server is about to restart.', advice: 'Try again in a minute.' },
  token: {
    title: 'This server asks for a token.',
    advice: 'Whoever runs it has one for you; paste it below, or open the address it came in.',
  },
  forbidden: {
    title: 'The server does not accept calls from here.',
    advice: 'Ask whoever runs it for access, or open its own address.',
  },
  unreachable: { title: 'The server does not answer.', advice: 'Check your network and that the server is running, then try again.' },
  'connection-lost': { title: 'The connection was lost.', advice: `Check your network. ${AGAIN}` },
  'conversation-lost': {
    title: 'The connection was lost, and the server no longer has the conversation.',
    advice: 'Press “Start talking” to begin a new one.',
  },
  refused: { title: 'The server ended the call.', advice: AGAIN },
  failed: { title: 'Something went wrong on the server.', advice: `It is not your fault. ${AGAIN}` },
  broken: { title: 'Something in this page or browser broke.', advice: 'Reload the page and try again.' },
};

/**
 * @param {{code: import('../failure.js').FailureCode, detail: string}} failure
 * @returns {Sentence}
 */
export function explain({ code, detail }) {
  const { title, advice } = FAILURES[code];
  if (!detail) return { title, advice };
  // A server's own words are for people; a browser's are for whoever helps them.
  return code === 'broken' ? { title, advice: `${advice} (${detail})` } : { title: sentence(detail), advice };
}

/** @param {string} reason the server's word for why it ended the call, nobody's fault @returns {string} */
export function farewell(reason) {
  return reason === 'limit' ? 'The call reached its time limit.' : 'The server ended the call.';
}

/** @param {number} position @param {number} aheadS @returns {string} */
export function inLine(position, aheadS) {
  if (!(position > 0)) return 'All lines are busy. You are in line.';
  const place = position === 1 ? 'You are next in line' : `You are number ${position} in line`;
  return aheadS > 0 ? `${place}, about ${duration(aheadS)} to go.` : `${place}. Stay here, the call starts by itself.`;
}

/** @param {number} leftS @returns {string} */
export function timeLeft(leftS) {
  return leftS > 0 ? `${duration(leftS)} left in this call.` : 'The time for this call is up.';
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
export function deviceChange({ kind, change, label }) {
  if (kind === 'speaker') return 'The chosen speaker is gone; you hear the call on the system’s own.';
  if (change === 'lost') return 'The microphone is gone. The call goes on, but nobody hears you: plug one in and choose it in the settings.';
  return `Now speaking into ${label || 'another microphone'}.`;
}

/** A capital first and a full stop last, whoever wrote it. @param {string} text */
function sentence(text) {
  const trimmed = text.trim();
  const capital = trimmed.charAt(0).toUpperCase() + trimmed.slice(1);
  return /[.!?…]$/.test(capital) ? capital : `${capital}.`;
}
