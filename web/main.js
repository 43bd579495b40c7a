/**
 * The page's composition root: finds the elements, makes the parts, and joins each call's events to them.
 *
 * `window.parley.call` is for the console and for tests: its `state`, its events, and while a call lasts its `graph`,
 * where both voices can be tapped.
 */

import { CallFailure } from './failure.js';
import { askInfo, askReadiness } from './net/server.js';
import { Parley, obstacle } from './parley.js';
import { DelayView } from './ui/delay.js';
import { Lanes } from './ui/lanes.js';
import { explain, farewell, inLine, timeLeft } from './ui/sentences.js';
import { StatusView } from './ui/status.js';
import { Transcript } from './ui/transcript.js';

const READINESS_POLL_MS = 2000;

/** @type {Record<import('./parley.js').ParleyState, {button: string, line: string}>} */
const STATES = {
  idle: { button: 'Start talking', line: '' },
  preparing: { button: 'Cancel', line: 'Allow the microphone when the browser asks.' },
  dialling: { button: 'Cancel', line: 'Calling…' },
  waiting: { button: 'Leave the line', line: 'All lines are busy. You are in line.' },
  live: { button: 'End call', line: 'Connected. Speak whenever you like.' },
  reconnecting: { button: 'End call', line: 'The connection was lost. Reconnecting…' },
  ended: { button: 'Start talking', line: 'Call ended.' },
};

/** @template {HTMLElement} T @param {string} id @param {new () => T} type @returns {T} */
function byId(id, type) {
  const element = document.getElementById(id);
  if (!(element instanceof type)) throw new Error(`index.html has no ${type.name} #${id}`);
  return element;
}

const base = document.baseURI;
const button = byId('talk', HTMLButtonElement);
const buttonLabel = byId('talk-label', HTMLElement);
const lanes = new Lanes(byId('lanes', HTMLCanvasElement));
const transcript = new Transcript(byId('transcript', HTMLElement));
const delay = new DelayView(byId('delay', HTMLDetailsElement));
const status = new StatusView(byId('status', HTMLElement), byId('failure', HTMLElement));

const call = new Parley(base);
Object.assign(window, { parley: { call } });
join(call);
button.addEventListener('click', () => (call.inCall ? call.stop() : void call.start()));
window.addEventListener('pagehide', () => call.stop());
void introduce();

/** @param {Parley} call */
function join(call) {
  const on = (/** @type {string} */ type, /** @type {(detail: any) => void} */ handle) =>
    call.addEventListener(type, (event) => handle(/** @type {CustomEvent} */ (event).detail));
  on('state', ({ state, ending }) => show(state, ending));
  on('queue', ({ position, aheadS }) => status.say(inLine(position, aheadS)));
  on('limit', ({ leftS }) => status.say(timeLeft(leftS)));
  on('words', ({ text, atS }) => transcript.add(text, atS * 1000));
  on('level', ({ voice, span, rms }) => lanes.add(voice, span, rms));
  on('delay', (detail) => delay.show(detail));
  on('counts', (detail) => delay.count(detail));
}

/** @param {import('./parley.js').ParleyState} state @param {import('./parley.js').Ending | null} ending */
function show(state, ending) {
  document.body.dataset.state = state;
  buttonLabel.textContent = STATES[state].button;
  status.say(STATES[state].line);
  if (state === 'preparing') transcript.clear();
  if (state === 'live') void introduceServer(); // it may be another model than when the page was opened
  if (state === 'dialling' && call.graph) lanes.start(call.graph.context.sampleRate);
  if (ending) showEnding(ending);
}

/** @param {import('./parley.js').Ending} ending */
function showEnding(ending) {
  lanes.stop();
  delay.hide();
  transcript.finish();
  if (transcript.empty) document.body.dataset.state = 'idle'; // nothing to read again: back to the welcome
  if (ending.by === 'failure') status.fail(explain(ending.failure));
  if (ending.by === 'server') status.say(farewell(ending.reason));
}

/** Who is there, until the model is loaded; and before the first call whether one can be had at all. */
async function introduce() {
  const found = obstacle();
  if (found) {
    button.disabled = true;
    status.fail(explain(found));
  }
  for (;;) {
    const readiness = await askReadiness(base);
    if (!found && call.state === 'idle') showReadiness(readiness);
    // Asked last: what it says once the server is ready stays true, what it says before does not.
    if ((await introduceServer()) && readiness === 'ready') return;
    await new Promise((resolve) => setTimeout(resolve, READINESS_POLL_MS));
  }
}

/** @param {import('./net/server.js').Readiness} readiness */
function showReadiness(readiness) {
  if (readiness === 'ready') status.say('');
  else if (readiness === 'starting') status.say('The model is still being loaded. You can start in a moment.');
  else status.fail(explain(new CallFailure(readiness)));
}

/** Name the model and show its notice. @returns {Promise<boolean>} false when the server does not tell */
async function introduceServer() {
  const info = await askInfo(base);
  if (info) showServer(info);
  return info !== null;
}

/** @param {import('./net/server.js').ServerInfo} info */
function showServer({ model, notice }) {
  byId('model', HTMLElement).textContent = model;
  const line = byId('notice', HTMLElement);
  line.textContent = notice ?? '';
  line.hidden = !notice;
}
