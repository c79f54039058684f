// The frame: who is signed in, which screen it is, how old what it shows is, and when it is read again.

import { get, remove, Refusal } from './api.js';
import { h, renew, say } from './dom.js';
import { badge, command, trouble } from './parts.js';
import { find, NAVIGATION } from './route.js';
import { form } from './sign-in.js';
import { instant, now, span } from './words.js';

const top = document.getElementById('top');
const main = document.getElementById('main');
let session;
let shown;

/** What a screen may do: know the role, go elsewhere, read again. */
class Shown {
  constructor({ screen, params }) {
    this.screen = screen;
    this.params = params;
    this.session = session;
    this.stopping = new AbortController();
    this.body = h('div', { class: 'screen' });
    this.fresh = h('div', { class: 'fresh' });
    this.kept = {};
  }

  /** Whether who is signed in may do what this role may. */
  may(role) {
    const roles = ['viewer', 'operator', 'admin'];
    return roles.indexOf(this.session.role) >= roles.indexOf(role);
  }

  go(href, options) { go(href, options); }

  /** Reads again now, and draws. */
  async read() {
    clearTimeout(this.timer);
    try {
      this.data = await this.screen.load(this.params, this.stopping.signal, this);
      this.error = undefined;
      this.readAt = now();
      if (this.data?.redirect) return go(this.data.redirect, { replace: true });
    } catch (error) {
      if (this.stopping.signal.aborted) return undefined;
      if (error.status === 401) return signIn(error);
      if (!(error instanceof Refusal)) throw error;
      this.error = error;
    }
    this.draw();
    if (!this.stopping.signal.aborted) this.plan();
    return undefined;
  }

  plan() {
    clearTimeout(this.timer);
    if (this.screen.every) this.timer = setTimeout(() => this.again(), this.screen.every * 1000);
  }

  again() {
    // Nobody looks: it is read when somebody does.
    if (document.hidden) this.late = true;
    else this.read();
  }

  draw() {
    if (this.stopping.signal.aborted) return;
    const title = this.screen.title(this.params, this.data);
    document.title = `${title} · Ringvault`;
    const parts = [h('div', { class: 'head' }, h('h1', { id: 'title', tabindex: '-1' }, title), this.data && this.screen.actions?.(this.data, this)), this.freshness()];
    if (this.error && this.data) {
      const { status, code, next, message } = this.error;
      parts.push(trouble(new Refusal({ status, code, next, detail: `${message}. What is shown is as it was` }), 'warn'));
    }
    if (this.error && !this.data) parts.push(trouble(this.error));
    if (this.data) parts.push(this.screen.draw(this.data, this));
    else if (!this.error) parts.push(h('p', { class: 'empty' }, 'Reading…'));
    renew(this.body, h('div', {}, parts));
  }

  freshness() {
    const same = this.screen.command(this.params, this.data);
    return h('p', { class: 'fresh', 'data-key': 'fresh' },
      h('span', { class: 'age', id: 'age' }, this.age()), ' ',
      h('button', { type: 'button', class: 'quiet', onclick: () => { this.read(); say('Read again'); } }, 'Read again'),
      same && h('span', { class: 'same' }, 'In a terminal: ', command(same)));
  }

  age() {
    if (!this.readAt) return this.error ? 'Nothing was read.' : 'Reading…';
    const every = this.live ? 'live' : this.screen.every ? `again every ${this.screen.every} s` : 'not read again by itself';
    return `Read ${instant(this.readAt, true).slice(11)} UTC, ${span((now() - this.readAt) / 1000)} ago · ${this.lost ? 'connection lost, trying again' : every}`;
  }

  tick() {
    const age = document.getElementById('age');
    if (age) age.textContent = this.age();
  }

  stop() {
    this.stopping.abort();
    clearTimeout(this.timer);
    this.unwatch?.();
  }
}

function header() {
  const here = location.pathname;
  const current = (href) => here === href || here.startsWith(`${href}/`);
  const out = async () => {
    try {
      await remove('/v1/session');
      signIn();
    } catch (error) {
      if (error.status === 401) return signIn();
      if (shown) shown.error = error;
      shown?.draw();
    }
    return undefined;
  };
  renew(top, h('div', {},
    h('a', { class: 'brand', href: '/ui/fleet' }, h('img', { src: '/ui/assets/icon.svg', alt: '', width: '20', height: '20' }), 'Ringvault'),
    h('nav', { 'aria-label': 'Screens' }, NAVIGATION.map(([href, word]) =>
      h('a', { href, 'aria-current': current(href) ? 'page' : undefined }, word))),
    h('div', { class: 'who' }, h('span', {}, session.name, ' ', h('span', { class: 'dim' }, session.role)),
      h('button', { type: 'button', class: 'quiet', onclick: out }, 'Sign out'))));
  top.hidden = false;
}

function signIn(why) {
  shown?.stop();
  shown = undefined;
  top.hidden = true;
  document.title = 'Sign in · Ringvault';
  const wanted = why && session ? why : undefined;
  session = undefined;
  main.replaceChildren(form((signedIn) => {
    session = signedIn;
    show();
  }, wanted));
  document.getElementById('token').focus();
}

function show({ keepFocus } = {}) {
  const found = find(location);
  shown?.stop();
  header();
  if (!found) {
    shown = undefined;
    document.title = 'Not found · Ringvault';
    main.replaceChildren(h('h1', {}, 'There is no such screen'), h('p', {}, 'It may have moved. ', h('a', { href: '/ui/fleet' }, 'Go to the fleet')));
    return;
  }
  // Drawn over the same screen with another question: what is there stays until the answer has come.
  const before = shown?.data && shown.path === location.pathname ? shown : undefined;
  shown = new Shown(found);
  shown.path = location.pathname;
  if (before) shown.body = before.body;
  main.replaceChildren(shown.body);
  if (before && found.screen.asksTheSame) Object.assign(shown, { data: before.data, readAt: before.readAt, kept: before.kept });
  if (shown.data || !before) shown.draw();
  if (!keepFocus && !before) {
    scrollTo(0, 0);
    document.getElementById('title')?.focus({ preventScroll: true });
  }
  shown.read().then(() => {
    if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
  });
}

function go(href, { replace } = {}) {
  if (replace) history.replaceState(null, '', href);
  else history.pushState(null, '', href);
  show();
}

document.addEventListener('click', (event) => {
  const anchor = event.target.closest?.('a[href]');
  if (!anchor || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const to = new URL(anchor.href);
  if (to.origin !== location.origin || !to.pathname.startsWith('/ui/') || anchor.target) return;
  if (to.pathname === location.pathname && to.search === location.search && to.hash) return;
  event.preventDefault();
  go(to.pathname + to.search + to.hash);
});
addEventListener('popstate', () => { if (session) show(); });
document.addEventListener('visibilitychange', () => {
  if (!document.hidden && shown?.late) {
    shown.late = false;
    shown.read();
  }
});
setInterval(() => { if (!document.hidden) shown?.tick(); }, 1000);

try {
  session = await get('/v1/session');
  show({ keepFocus: true });
} catch (error) {
  if (error.status === 401) signIn();
  else main.replaceChildren(h('h1', {}, 'Ringvault'), trouble(error), h('p', {}, badge('not reached', 'bad'), ' ', h('a', { href: location.href }, 'Try again')));
}
