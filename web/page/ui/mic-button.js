/**
 * The microphone's button: before a call it checks the microphone, in a call it mutes. While muted, holding the button or the
 * space bar lets the caller talk.
 */

import { byId, find } from './dom.js';

const TAP_MS = 300; // a longer press was push-to-talk and does not unmute
const CLICK_AFTER_TALK_MS = 100; // the click of releasing the button comes within this; any other click unmutes

/** Elements that use the space bar themselves. */
const TAKES_SPACE = 'button, input, select, textarea, summary, a[href], [popover]';

export class MicButton {
  /** Called when the microphone is muted or unmuted, or held to talk. */
  onChange = () => {};
  /** Called on a click outside a call, to start or stop the microphone check. */
  onCheck = () => {};
  #button = byId('mic', HTMLButtonElement);
  #label = find(this.#button, 'span', HTMLElement);
  #push = byId('push', HTMLInputElement);
  #parley;
  #muted = false;
  #held = false;
  #heldAtMs = 0;
  #releasedAtMs = -Infinity;
  #checking = false;

  /** @param {import('../../client/parley.js').Parley} parley */
  constructor(parley) {
    this.#parley = parley;
    const button = this.#button;
    button.addEventListener('pointerdown', () => this.#hold(true));
    for (const end of ['pointerup', 'pointercancel', 'pointerleave']) button.addEventListener(end, () => this.#hold(false));
    button.addEventListener('contextmenu', (event) => event.preventDefault()); // of a long touch
    button.addEventListener('click', () => this.#onClick());
    this.#push.addEventListener('change', () => (this.muted = this.#push.checked));
    addEventListener('keydown', (event) => this.#onKey(event, true));
    addEventListener('keyup', (event) => this.#onKey(event, false));
    addEventListener('blur', () => this.#hold(false)); // the key will be released in another window
    parley.addEventListener('state', () => this.#show());
  }

  /** Whether the microphone's audio is sent now. */
  get open() {
    return !this.#muted || this.#held;
  }

  get held() {
    return this.#held;
  }

  get muted() {
    return this.#muted;
  }

  set muted(muted) {
    this.#muted = this.#push.checked = this.#parley.pushToTalk = muted;
    this.#show();
    this.onChange();
  }

  /** @param {boolean} checking */
  set checking(checking) {
    this.#checking = checking;
    this.#show();
  }

  focus() {
    this.#button.focus();
  }

  #onClick() {
    if (!this.#parley.inCall) this.onCheck();
    else if (!this.#muted || performance.now() - this.#releasedAtMs > CLICK_AFTER_TALK_MS) this.muted = !this.#muted;
  }

  /** @param {KeyboardEvent} event @param {boolean} down */
  #onKey(event, down) {
    if (event.key === 'Enter' && event.repeat && event.target === this.#button) event.preventDefault(); // held since another button
    if (event.key === 'Enter') this.#releasedAtMs = -Infinity; // its click is not the release of push-to-talk
    if (event.key !== ' ' || !this.#parley.inCall) return;
    const target = /** @type {Element} */ (event.target);
    if (target !== this.#button && target.closest(TAKES_SPACE)) return;
    if (target !== this.#button) event.preventDefault(); // prevents scrolling
    if (!event.repeat) this.#hold(down);
  }

  /** @param {boolean} down */
  #hold(down) {
    if (down === this.#held || (down && !(this.#muted && this.#parley.inCall))) return;
    this.#held = down;
    const nowMs = performance.now();
    if (down) this.#heldAtMs = nowMs;
    else if (nowMs - this.#heldAtMs >= TAP_MS) this.#releasedAtMs = nowMs;
    this.#parley.talk(down);
    this.#show();
    this.onChange();
  }

  #show() {
    const { inCall } = this.#parley;
    this.#label.textContent = inCall ? 'Mute' : this.#checking ? 'Stop check' : 'Check mic';
    this.#button.ariaPressed = inCall ? String(this.#muted) : null; // outside a call the label says what the button does
    this.#button.classList.toggle('open', inCall ? this.#held : this.#checking);
  }
}
