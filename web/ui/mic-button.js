/**
 * The microphone's button: before a call it lets you see that you are heard, in a call it mutes; while muted, the button or
 * the space bar held down lets you talk.
 */

import { byId, find } from './page.js';

const TAP_MS = 300; // held longer, it was to talk, and does not unmute
const CLICK_WITHIN_MS = 100; // of letting go; a click without, as a screen reader's, is one to unmute

/** Where the space bar means something else. */
const TAKES_SPACE = 'button, input, select, textarea, summary, a[href], [popover]';

export class MicButton {
  /** Called when it is muted, unmuted, or held to talk. */
  onChange = () => {};
  /** Called before a call, to begin or end looking at one's own voice. */
  onCheck = () => {};
  #button = byId('mic', HTMLButtonElement);
  #label = find(this.#button, 'span', HTMLElement);
  #push = byId('push', HTMLInputElement);
  #parley;
  #muted = false;
  #held = false;
  #heldAtMs = 0;
  #talkedUntilMs = -Infinity;
  #checking = false;

  /** @param {import('../parley.js').Parley} parley */
  constructor(parley) {
    this.#parley = parley;
    const button = this.#button;
    button.addEventListener('pointerdown', () => this.#hold(true));
    for (const end of ['pointerup', 'pointercancel', 'pointerleave']) button.addEventListener(end, () => this.#hold(false));
    button.addEventListener('contextmenu', (event) => event.preventDefault()); // a finger held down
    button.addEventListener('click', () => this.#onClick());
    this.#push.addEventListener('change', () => (this.muted = this.#push.checked));
    addEventListener('keydown', (event) => this.#onKey(event, true));
    addEventListener('keyup', (event) => this.#onKey(event, false));
    addEventListener('blur', () => this.#hold(false)); // the key will be let go elsewhere
    parley.addEventListener('state', () => this.#show());
  }

  /** Whether the model hears the microphone now. */
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
    else if (!this.#muted || performance.now() - this.#talkedUntilMs > CLICK_WITHIN_MS) this.muted = !this.#muted;
  }

  /** @param {KeyboardEvent} event @param {boolean} down */
  #onKey(event, down) {
    if (event.key === 'Enter') this.#talkedUntilMs = -Infinity; // its click ends no talking
    if (event.key !== ' ' || !this.#parley.inCall) return;
    const target = /** @type {Element} */ (event.target);
    if (target !== this.#button && target.closest(TAKES_SPACE)) return;
    if (target !== this.#button) event.preventDefault(); // do not scroll
    if (!event.repeat) this.#hold(down);
  }

  /** @param {boolean} down */
  #hold(down) {
    if (down === this.#held || (down && !(this.#muted && this.#parley.inCall))) return;
    this.#held = down;
    const nowMs = performance.now();
    if (down) this.#heldAtMs = nowMs;
    else if (nowMs - this.#heldAtMs >= TAP_MS) this.#talkedUntilMs = nowMs;
    this.#parley.talk(down);
    this.#show();
    this.onChange();
  }

  #show() {
    const { inCall } = this.#parley;
    this.#label.textContent = inCall ? 'Mute' : this.#checking ? 'Stop check' : 'Check mic';
    this.#button.ariaPressed = inCall ? String(this.#muted) : null; // a check says in words what the next press does
    this.#button.classList.toggle('open', inCall ? this.#held : this.#checking);
  }
}
