/**
 * The page's composition root: makes the parts, and joins the call's events to them.
 *
 * `window.parley.call` is for the console and for tests: its `state`, its events, and while a call lasts its `graph`,
 * where both voices can be tapped.
 */

import { CallFailure } from './failure.js';
import { Parley, obstacle } from './parley.js';
import { Clock } from './ui/clock.js';
import { DelayView } from './ui/delay.js';
import { Door, takeToken } from './ui/door.js';
import { Lanes } from './ui/lanes.js';
import { Manner } from './ui/manner.js';
import { recall } from './ui/memory.js';
import { MicButton } from './ui/mic-button.js';
import { MicCheck } from './ui/mic-check.js';
import { byId } from './ui/page.js';
import { RecordButton } from './ui/record-button.js';
import { deviceChange, explain, farewell, inLine, timeLeft } from './ui/sentences.js';
import { Sound } from './ui/sound.js';
import { StatusView } from './ui/status.js';
import { Tools } from './ui/tools.js';
import { Transcript } from './ui/transcript.js';
import { keepAwake } from './ui/wake-lock.js';

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
const RESTARTS = 'The server is about to restart, and this call ends with it.';
const RECORDS = 'The server records this call, as you allowed.';
const MUTED = 'Muted. Hold the space bar or the microphone button to talk.';
const TALKING = 'You are heard while you hold.';

const call = new Parley(document.baseURI, { ...recall(), token: takeToken() });
Object.assign(window, { parley: { call } });

const talk = byId('talk', HTMLButtonElement);
const status = new StatusView(byId('status', HTMLElement), byId('failure', HTMLElement));
const note = (/** @type {string} */ text) => status.note(text);
const lanes = new Lanes(byId('lanes', HTMLCanvasElement));
const transcript = new Transcript(byId('transcript', HTMLElement));
const delay = new DelayView(byId('delay', HTMLButtonElement), byId('delay-card', HTMLElement));
const clock = new Clock(byId('clock', HTMLElement));
const mic = new MicButton(call);
const check = new MicCheck(call, mic, lanes, status);
const door = new Door(call, refuse);
const record = new RecordButton(call, note);
const manner = new Manner(call, note);
new Sound(call, note);
const tools = new Tools(call, transcript, delay, note);

let nowS = 0; // on the call's own clock
let hinted = false;

talk.addEventListener('click', () => (call.inCall ? call.stop() : void call.start()));
door.onToken = () => {
  status.say('');
  void introduce();
};
mic.onChange = () => {
  record.muted = !mic.open;
  if (call.state === 'live') status.say(liveLine());
};
byId('settings-card', HTMLElement).addEventListener('toggle', () => manner.onCall(call.inCall, call.seed));
byId('allow-record', HTMLInputElement).addEventListener('change', ({ target }) => {
  call.record = /** @type {HTMLInputElement} */ (target).checked;
});
byId('hint-seen', HTMLButtonElement).addEventListener('click', () => hint(false, true));
window.addEventListener('pagehide', () => call.stop());
join();
void introduce();

function join() {
  const on = (/** @type {string} */ type, /** @type {(detail: any) => void} */ handle) =>
    call.addEventListener(type, (event) => handle(/** @type {CustomEvent} */ (event).detail));
  on('state', ({ state, ending }) => show(state, ending));
  on('queue', ({ position, aheadS }) => status.say(inLine(position, aheadS)));
  on('limit', ({ leftS }) => {
    clock.end(leftS);
    note(timeLeft(leftS));
  });
  on('words', ({ text, span, atS }) => {
    lanes.addWords(text, span);
    transcript.add(text, atS);
  });
  on('level', ({ voice, span, rms, atS }) => {
    nowS = atS;
    lanes.add(voice, span, voice === 'user' && call.inCall && !mic.open ? 0 : rms);
  });
  on('delay', (detail) => delay.show(detail));
  on('counts', (detail) => delay.count(detail));
  on('device', (detail) => note(deviceChange(detail)));
  on('leak', ({ heard }) => hint(heard));
  on('lost', ({ leftS }) => status.say(STATES.reconnecting.line, leftS));
  on('gap', ({ lostS }) => {
    lanes.addGap(lostS);
    transcript.addGap(nowS, lostS);
  });
  on('recording', ({ on: kept }) => {
    byId('kept', HTMLElement).hidden = !kept;
    note(kept ? RECORDS : 'The server does not record this call.');
  });
  on('drain', ({ leftS }) => {
    clock.end(leftS);
    status.say(RESTARTS, leftS);
  });
}

/** @param {import('./parley.js').ParleyState} state @param {import('./parley.js').Ending | null} ending */
function show(state, ending) {
  const before = document.body.dataset.state;
  document.body.dataset.state = state;
  byId('talk-label', HTMLElement).textContent = STATES[state].button;
  status.say(state === 'live' ? liveLine() : STATES[state].line);
  keepAwake(call.inCall);
  if (state === 'preparing') begin();
  if (state === 'dialling' && call.graph) lanes.start(call.graph.context.sampleRate, { words: true });
  if (state === 'live' && before !== 'reconnecting') void goLive();
  if (ending) showEnding(ending);
}

function begin() {
  check.end();
  transcript.clear();
  delay.clear();
  tools.began();
  clock.hide();
  byId('kept', HTMLElement).hidden = true;
}

async function goLive() {
  // Under the fingers is now what is wanted next: the space bar must not end the call.
  if (document.activeElement === talk) mic.focus();
  clock.start(call.limitS);
  if (!byId('kept', HTMLElement).hidden) note(RECORDS); // told before the greeting, which took its place
  try {
    await introduceServer(); // it may be another model than when the page was opened
  } catch {
    // The door is closed again: the token was good for one call, which is this one.
  }
}

/** @param {import('./parley.js').Ending} ending */
function showEnding(ending) {
  lanes.stop();
  clock.stop();
  byId('kept', HTMLElement).hidden = true;
  record.stop();
  transcript.finish();
  hint(false);
  if (document.activeElement?.matches('.controls button')) talk.focus();
  if (transcript.empty) document.body.dataset.state = 'idle'; // nothing to read again: back to the welcome
  if (ending.by === 'failure') refuse(ending.failure);
  if (ending.by === 'server') status.say(farewell(ending.reason));
}

/** Headphones would help. @param {boolean} shown @param {boolean} [enough] said once is enough, to who says so */
function hint(shown, enough = false) {
  hinted ||= enough;
  byId('hint', HTMLElement).hidden = !shown || hinted;
}

function liveLine() {
  return mic.held ? TALKING : mic.muted ? MUTED : STATES.live.line;
}

/** Who is there, until the model is loaded; and before the first call whether one can be had at all. */
async function introduce() {
  const found = obstacle();
  if (found) {
    talk.disabled = true;
    byId('mic', HTMLButtonElement).disabled = true;
    status.fail(explain(found));
  }
  try {
    for (;;) {
      const readiness = await call.readiness();
      if (!found && call.state === 'idle' && !check.running) showReadiness(readiness);
      // Asked last: what it says once the server is ready stays true, what it says before does not.
      if ((await introduceServer()) && readiness === 'ready') return;
      await new Promise((resolve) => setTimeout(resolve, READINESS_POLL_MS));
    }
  } catch (failure) {
    if (!found && !call.inCall) refuse(/** @type {CallFailure} */ (failure));
  }
}

/** No call, and why; where a token is wanted, it is asked for. @param {CallFailure} failure */
function refuse(failure) {
  status.fail(explain(failure));
  door.closed = failure.code === 'token';
  talk.disabled = failure.code === 'token';
}

/** @param {import('./net/server.js').Readiness} readiness */
function showReadiness(readiness) {
  if (readiness === 'ready') status.say('');
  else if (readiness === 'starting') status.say('The model is still being loaded. You can start in a moment.');
  else status.fail(explain(new CallFailure(readiness)));
}

/** Name the model and what it offers, and show its notice. @returns {Promise<boolean>} false when the server does not tell @throws {CallFailure} */
async function introduceServer() {
  const told = await call.info();
  if (!told) return false;
  tools.info = told;
  door.closed = false;
  talk.disabled = obstacle() !== null;
  byId('model', HTMLElement).textContent = told.model;
  const notice = byId('notice', HTMLElement);
  notice.textContent = told.notice ?? '';
  notice.hidden = !told.notice;
  byId('consent', HTMLElement).hidden = !told.records;
  manner.offer(told.voices ?? [], told.prompts ?? [], told.params ?? {});
  return true;
}
