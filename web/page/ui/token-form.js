/**
 * The server's token: from the page's address, or asked for in a form. It is kept while the tab is open, and removed from the
 * address, so that it is not seen there and not shared in a link.
 */

import { CallFailure } from '../../client/failure.js';
import { isToken } from '../../client/net/server.js';
import { byId } from './dom.js';

const KEY = 'parley.token';

/** @returns {string} from the address, or else as kept by this tab; '' for none */
export function takeToken() {
  return takeFromAddress() ?? keptToken();
}

function takeFromAddress() {
  const rest = new URLSearchParams(location.hash.slice(1));
  const token = rest.get('token');
  if (token === null) return null;
  rest.delete('token');
  history.replaceState(history.state, '', rest.size ? `#${rest}` : location.pathname + location.search);
  keepToken(token);
  return token;
}

export class TokenForm {
  /** Called when there is a new token to try. */
  onToken = () => {};
  #form = byId('token-form', HTMLFormElement);
  #field = byId('token', HTMLInputElement);
  #parley;

  /** @param {import('../../client/parley.js').Parley} parley @param {(failure: CallFailure) => void} onInvalid */
  constructor(parley, onInvalid) {
    this.#parley = parley;
    addEventListener('hashchange', () => this.#try(takeFromAddress() ?? parley.token));
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault();
      const token = tokenIn(this.#field.value);
      if (!isToken(token)) return onInvalid(new CallFailure('token', 'This is not a valid token.'));
      keepToken(token);
      this.#try(token);
    });
  }

  /** @param {boolean} visible */
  set visible(visible) {
    this.#form.hidden = !visible;
    if (visible) this.#field.select();
    else this.#field.value = '';
  }

  /** @param {string} token */
  #try(token) {
    if (token === this.#parley.token && this.#form.hidden) return;
    this.#parley.token = token;
    this.onToken();
  }
}

/** The text may also be a whole address with a token. @param {string} text */
function tokenIn(text) {
  return new URLSearchParams(text.split('#')[1]).get('token') ?? text.trim();
}

function keptToken() {
  try {
    return sessionStorage.getItem(KEY) ?? '';
  } catch {
    return ''; // this browser does not let the page store anything
  }
}

/** @param {string} token */
function keepToken(token) {
  try {
    sessionStorage.setItem(KEY, token);
  } catch {
    // It is used until the page is closed.
  }
}
