/** The earlier calls of this visit: their transcripts stay readable and can be saved until the page is closed. */

import { byId, copy, formatDuration, save } from './dom.js';
import { FILES, fileName, toText } from './formats.js';

const KEPT_CALLS = 50;
const TITLE_LENGTH = 48; // characters of what was said first

export class EarlierCalls {
  /** @type {import('./formats.js').CallRecord[]} the newest first */
  records = [];
  #button = byId('earlier', HTMLButtonElement);
  #list = byId('earlier-list', HTMLElement);
  #notify;
  /** @type {WeakSet<import('./formats.js').CallRecord>} */
  #saved = new WeakSet();

  /** @param {(text: string) => void} notify */
  constructor(notify) {
    this.#notify = notify;
  }

  /** Whether one of them would be lost if the page was closed. */
  get hasUnsaved() {
    return this.records.some((record) => !this.#saved.has(record));
  }

  /** @param {import('./formats.js').CallRecord} record @param {boolean} isSaved */
  keep(record, isSaved) {
    if (!record.pieces.length) return;
    this.records.unshift(record);
    if (isSaved) this.#saved.add(record);
    this.#list.prepend(this.#entry(record));
    if (this.records.length > KEPT_CALLS) this.records.pop();
    if (this.#list.childElementCount > KEPT_CALLS) this.#list.lastElementChild?.remove();
    this.#button.hidden = false;
  }

  /** @param {import('./formats.js').CallRecord} record */
  #entry(record) {
    const text = toText(record);
    const entry = document.createElement('details');
    const summary = document.createElement('summary');
    const lastedS = record.pieces[record.pieces.length - 1].atS;
    const words = text.length > TITLE_LENGTH ? `${text.slice(0, TITLE_LENGTH).trimEnd()}…` : text.trimEnd();
    const at = new Date(record.startedAt).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
    summary.append(`${at}, ${formatDuration(lastedS)}: `, span(words));
    const buttons = document.createElement('div');
    buttons.className = 'buttons';
    buttons.append(chip('Copy', () => void this.#copy(record, text)));
    for (const kind of /** @type {(keyof typeof FILES)[]} */ (Object.keys(FILES))) {
      buttons.append(chip(`Save .${kind}`, () => this.#save(record, kind)));
    }
    const said = span(text);
    said.className = 'earlier-text';
    entry.append(summary, said, buttons);
    return entry;
  }

  /** @param {import('./formats.js').CallRecord} record @param {string} text */
  async #copy(record, text) {
    const isCopied = await copy(text);
    if (isCopied) this.#saved.add(record);
    this.#notify(isCopied ? 'Copied.' : 'The browser did not allow copying.');
  }

  /** @param {import('./formats.js').CallRecord} record @param {keyof typeof FILES} kind */
  #save(record, kind) {
    const [format, type] = FILES[kind];
    save(new Blob([format(record)], { type }), fileName(record, kind));
    this.#saved.add(record);
  }
}

/** @param {string} text in any language, from either side */
function span(text) {
  const element = document.createElement('span');
  element.dir = 'auto';
  element.textContent = text;
  return element;
}

/** @param {string} label @param {() => void} press */
function chip(label, press) {
  const button = document.createElement('button');
  button.type = 'button';
  button.className = 'chip';
  button.textContent = label;
  button.addEventListener('click', press);
  return button;
}
