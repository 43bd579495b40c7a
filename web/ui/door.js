/**
 * The token of a server's door: from the address it came in, or asked for in a field. Kept while the tab is open, and taken
 * out of the address, so that no one reads it there and no link passes it on.
 */

import { CallFailure } from '../failure.js';
import { isToken } from '../net/server.js';
import { byId } from './page.js';

const KEY = 'parley.token';

/** @returns {string} of the address, or else of an earlier visit in this tab; '' for none */
export function takeToken() {
  return takeFromAddress() ?? kept();
}

function takeFromAddress() {
  const rest = new URLSearchParams(location.hash.slice(1));
  const token = rest.get('token');
  if (token === null) return null;
  rest.delete('token');
  history.replaceState(history.state, '', rest.size ? `#${rest}` : location.pathname + location.search);
  keep(token);
  return token;
}

export class Door {
  /** Called when there is another token to try. */
  onToken = () => {};
  #form = byId('door', HTMLFormElement);
  #field = byId('token', HTMLInputElement);
  #parley;

  /** @param {import('../parley.js').Parley} parley @param {(failure: CallFailure) => void} refuse */
  constructor(parley, refuse) {
    this.#parley = parley;
    addEventListener('hashchange', () => this.#try(takeFromAddress() ?? parley.token));
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault();
      const token = tokenIn(this.#field.value);
      if (!isToken(token)) return refuse(new CallFailure('token', 'That is not a token: one has no spaces or signs.'));
      keep(token);
      this.#try(token);
    });
  }

  /** @param {boolean} closed it asks for a token */
  set closed(closed) {
    this.#form.hidden = !closed;
    if (closed) this.#field.select();
    else this.#field.value = '';
  }

  /** @param {string} token */
  #try(token) {
    if (token === this.#parley.token && this.#form.hidden) return;
    this.#parley.token = token;
    this.onToken();
  }
}

/** People paste the whole address, too. @param {string} text */
function tokenIn(text) {
  return new URLSearchParams(text.split('#')[1]).get('token') ?? text.trim();
}

function kept() {
  try {
    return sessionStorage.getItem(KEY) ?? '';
  } catch {
    return ''; // the browser keeps nothing for this page
  }
}

/** @param {string} token */
function keep(token) {
  try {
    sessionStorage.setItem(KEY, token);
  } catch {
    // It holds until the page is left.
  }
}
