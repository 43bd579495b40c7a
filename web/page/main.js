/**
 * The page's composition root: makes its parts and connects the call's events to them.
 *
 * `window.parley.call` is for the console and for tests: its `state`, its events, and during a call its `graph`, to whose
 * voices other audio nodes may be connected.
 */

import { CallFailure } from '../client/failure.js';
import { Parley, unsupportedReason } from '../client/parley.js';
import { CallTimer } from './ui/call-timer.js';
import { DelayView } from './ui/delay-view.js';
import { loadDevices, saveDevices } from './ui/device-storage.js';
import { byId, formatDuration } from './ui/dom.js';
import { busyMessage, deviceMessage, endMessage, failureMessage, queueMessage, timeLeftMessage } from './ui/messages.js';
import { MicButton } from './ui/mic-button.js';
import { MicCheck } from './ui/mic-check.js';
import { RecordButton } from './ui/record-button.js';
import { SoundSettings } from './ui/sound-settings.js';
import { StatusView } from './ui/status-view.js';
import { TalkButton } from './ui/talk-button.js';
import { TokenForm, takeToken } from './ui/token-form.js';
import { TranscriptActions } from './ui/transcript-actions.js';
import { Transcript } from './ui/transcript.js';
import { VoiceSettings } from './ui/voice-settings.js';
import { keepAwake } from './ui/wake-lock.js';
import { Waveform } from './ui/waveform.js';

const READINESS_POLL_MS = 2000;
const BUSY_POLL_MS = 5000;

/** @type {Record<import('../client/parley.js').ParleyState, {button: string, status: string}>} */
const STATES = {
  idle: { button: 'Start talking', status: '' },
  preparing: { button: 'Cancel', status: 'Allow the microphone when the browser asks.' },
  connecting: { button: 'Cancel', status: 'Connecting…' },
  queued: { button: 'Leave queue', status: 'The server is busy. You are in the queue.' },
  live: { button: 'End call', status: 'Connected. Speak whenever you like.' },
  reconnecting: { button: 'End call', status: 'The connection was lost. Reconnecting…' },
  ended: { button: 'Start talking', status: 'Call ended.' },
};
const RESTARTING = 'The server is about to restart, which will end this call.';
const RECORDED = 'The server records this call, as you allowed.';
const MUTED = 'Muted. Hold the space bar or the microphone button to talk.';
const SILENT = 'No sound comes from your microphone. Check its switch, or choose another one in the settings.';
const SYSTEM_MUTED = 'Your system or headset has muted the microphone. Nobody hears you.';
const INTERRUPTED = 'Your device has paused the sound. Press anywhere to go on.';
const TALKING = 'You can be heard until you let go.';

const call = new Parley(document.baseURI, { ...loadDevices(), token: takeToken() });
Object.assign(window, { parley: { call } });

const talk = new TalkButton(() => void call.start(), () => call.stop());
const status = new StatusView(byId('status', HTMLElement), byId('failure', HTMLElement));
const notify = (/** @type {string} */ text) => status.notify(text);
const waveform = new Waveform(byId('waveform', HTMLCanvasElement));
const transcript = new Transcript(byId('transcript', HTMLElement));
const delay = new DelayView(byId('delay', HTMLButtonElement), byId('delay-card', HTMLElement));
const timer = new CallTimer(byId('call-timer', HTMLElement));
const mic = new MicButton(call);
const micCheck = new MicCheck(call, mic, waveform, status);
const tokenForm = new TokenForm(call, showFailure);
const record = new RecordButton(call, notify);
const voiceSettings = new VoiceSettings(call, notify);
new SoundSettings(call, notify);
const transcriptActions = new TranscriptActions(call, transcript, delay, notify);

let nowS = 0; // on the call's clock
let isHintDismissed = false;
let silence = ''; // why the caller cannot be heard; '' where that is not so
let isInterrupted = false;

tokenForm.onToken = () => {
  status.show('');
  void pollServer();
};
mic.onChange = () => {
  record.muted = !mic.open;
  if (call.state === 'live') status.show(liveStatus());
};
byId('settings-card', HTMLElement).addEventListener('toggle', () => voiceSettings.onCall(call.inCall, call.seed));
byId('allow-record', HTMLInputElement).addEventListener('change', ({ target }) => {
  call.record = /** @type {HTMLInputElement} */ (target).checked;
});
byId('headphones-hint-dismiss', HTMLButtonElement).addEventListener('click', () => {
  isHintDismissed = true;
  showHeadphonesHint(false);
});
window.addEventListener('pagehide', () => call.stop());
connectEvents();
// The page works: until now its buttons did nothing.
byId('loading', HTMLElement).remove();
byId('mic', HTMLButtonElement).disabled = talk.disabled = false;
void pollServer();

function connectEvents() {
  const on = (/** @type {string} */ type, /** @type {(detail: any) => void} */ handle) =>
    call.addEventListener(type, (event) => handle(/** @type {CustomEvent} */ (event).detail));
  on('state', ({ state, ending }) => showState(state, ending));
  on('queue', ({ position, aheadS }) => {
    byId('place', HTMLElement).textContent = position > 0 ? String(position) : '';
    status.show(queueMessage(position, aheadS));
  });
  on('limit', ({ leftS }) => {
    timer.setTimeLeft(leftS);
    notify(timeLeftMessage(leftS));
  });
  on('text', ({ text, span, atS }) => {
    waveform.addText(text, span);
    transcript.add(text, atS);
  });
  on('level', ({ voice, span, rms, atS }) => {
    nowS = atS;
    waveform.addLevel(voice, span, voice === 'user' && call.inCall && !mic.open ? 0 : rms);
  });
  on('delay', (detail) => delay.show(detail));
  on('counts', (detail) => delay.count(detail));
  on('device', (detail) => notify(deviceMessage(detail)));
  on('echo', ({ isHeard }) => showHeadphonesHint(isHeard));
  on('silence', ({ isSilent, isMuted }) => {
    silence = !isSilent ? '' : isMuted ? SYSTEM_MUTED : SILENT;
    if (call.state === 'live') status.show(liveStatus());
    else if (micCheck.running) micCheck.showSilence(silence);
  });
  on('interrupted', ({ isInterrupted: on, lastedS }) => {
    isInterrupted = on;
    timer.stand(on);
    if (!on && hasBegun()) transcript.addGap(nowS, lastedS, true);
    if (call.inCall) status.show(call.state === 'live' || on ? liveStatus() : STATES[call.state].status);
  });
  on('disconnected', ({ leftS }) => status.show(STATES.reconnecting.status, leftS));
  on('resumed', ({ lostS }) => {
    waveform.addGap(lostS);
    transcript.addGap(nowS, lostS);
  });
  on('recording', ({ on: isRecording }) => {
    byId('server-recording', HTMLElement).hidden = !isRecording;
    notify(isRecording ? RECORDED : 'The server does not record this call.');
  });
  on('drain', ({ leftS }) => {
    timer.setTimeLeft(leftS);
    status.show(RESTARTING, leftS);
  });
}

/** @param {import('../client/parley.js').ParleyState} state @param {import('../client/parley.js').Ending | null} ending */
function showState(state, ending) {
  const before = document.body.dataset.state;
  document.body.dataset.state = state;
  talk.show(STATES[state].button, state !== 'idle' && state !== 'ended');
  status.show(state === 'live' ? liveStatus() : STATES[state].status);
  keepAwake(call.inCall);
  if (state === 'preparing') prepareCall();
  if (state === 'connecting' && call.graph) waveform.start(call.graph.context.sampleRate, { hasText: true });
  if (state === 'live' && before !== 'reconnecting') void goLive();
  if (ending) showEnding(ending);
  if (ending && (before === 'live' || before === 'reconnecting') && call.bufferMs) saveDevices({ bufferMs: Math.round(call.bufferMs) });
}

function prepareCall() {
  micCheck.end();
  silence = '';
  isInterrupted = false;
  nowS = 0;
  delay.clear();
  transcriptActions.start();
  timer.hide();
  byId('server-recording', HTMLElement).hidden = true;
}

async function goLive() {
  // Move the focus to the microphone button, so that the space bar does not end the call that it started.
  if (talk.isFocused) mic.focus();
  timer.start(call.limitS);
  if (!byId('server-recording', HTMLElement).hidden) notify(RECORDED); // the event came first, and the status has replaced it
  try {
    await showServer(); // the model may be another one than when the page was opened
  } catch {
    // The server wants a token again: this one was valid for one call, which is now in progress.
  }
}

/** @param {import('../client/parley.js').Ending} ending */
function showEnding(ending) {
  waveform.stop();
  timer.stop();
  byId('server-recording', HTMLElement).hidden = true;
  record.stop();
  transcript.finish();
  showHeadphonesHint(false);
  if (document.activeElement?.matches('.controls button')) talk.focus();
  byId('end-length', HTMLElement).textContent = nowS > 0 ? ` It lasted ${formatDuration(nowS)}.` : '';
  if (transcript.empty) {
    document.body.dataset.state = 'idle'; // there is nothing to read: show the welcome
    waveform.showExample();
  }
  if (ending.by === 'failure') showFailure(ending.failure);
  if (ending.by === 'server') status.show(endMessage(ending.reason));
}

/** @param {boolean} shown never again once it was dismissed */
function showHeadphonesHint(shown) {
  byId('headphones-hint', HTMLElement).hidden = !shown || isHintDismissed;
}

function liveStatus() {
  if (isInterrupted) return INTERRUPTED;
  if (mic.muted) return mic.held ? silence || TALKING : MUTED;
  return silence || STATES.live.status;
}

/** Whether the present call has been live. */
function hasBegun() {
  return call.state === 'live' || call.state === 'reconnecting';
}

/** Show the server and whether it is ready, until it is; and whether this browser can make calls. */
async function pollServer() {
  const unsupported = unsupportedReason();
  if (unsupported) {
    talk.disabled = true;
    byId('mic', HTMLButtonElement).disabled = true;
    status.fail(failureMessage(unsupported));
  }
  try {
    for (;;) {
      const readiness = await call.readiness();
      // Asked after the readiness: what the server says of itself is final only once it is ready.
      const info = await showServer();
      const busy = info && readiness === 'ready' ? busyMessage(info) : '';
      if (!unsupported && call.state === 'idle' && !micCheck.running) showReadiness(readiness, busy);
      if (info && readiness === 'ready' && (!busy || call.state !== 'idle')) return;
      await new Promise((resolve) => setTimeout(resolve, busy ? BUSY_POLL_MS : READINESS_POLL_MS));
    }
  } catch (failure) {
    if (!unsupported && !call.inCall) showFailure(/** @type {CallFailure} */ (failure));
  }
}

/** Say why there is no call; if the server wants a token, ask for it. @param {CallFailure} failure */
function showFailure(failure) {
  status.fail(failureMessage(failure));
  tokenForm.visible = failure.code === 'token';
  talk.disabled = failure.code === 'token';
}

/** @param {import('../client/net/server.js').Readiness} readiness @param {string} busy '' for not */
function showReadiness(readiness, busy) {
  if (readiness === 'ready') status.show(busy);
  else if (readiness === 'starting') status.show('The model is still loading. You can start in a moment.');
  else status.fail(failureMessage(new CallFailure(readiness)));
}

/**
 * Show the server's model, notice, and what it offers.
 * @returns {Promise<import('../client/net/server.js').ServerInfo | null>} null when it does not answer
 * @throws {CallFailure}
 */
async function showServer() {
  const info = await call.info();
  if (!info) return null;
  transcriptActions.info = info;
  tokenForm.visible = false;
  talk.disabled = unsupportedReason() !== null;
  byId('model', HTMLElement).textContent = info.model;
  const notice = byId('notice', HTMLElement);
  notice.textContent = info.notice ?? '';
  notice.hidden = !info.notice;
  showExamples(info.examples ?? []);
  byId('consent', HTMLElement).hidden = !info.records;
  voiceSettings.offer(info.voices ?? [], info.prompts ?? [], info.params ?? {});
  return info;
}

/** What one can say to this model. @param {string[]} examples */
function showExamples(examples) {
  for (const element of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll('[data-examples]'))) {
    element.textContent = `Try ${examples.map((example) => `“${example}”`).join(' · ')}`;
    element.hidden = !examples.length;
  }
}
