// Signing in: a token is given once, and kept nowhere by this page; or at an identity provider.

import { get, post, query } from './api.js';
import { h } from './dom.js';
import { trouble } from './parts.js';

/** The form; `done` is called with who is signed in. */
export function form(done, why) {
  const refused = h('div', { role: 'alert' }, why && trouble(why, 'warn'));
  const token = h('input', { type: 'password', name: 'token', id: 'token', autocomplete: 'current-password', required: true, spellcheck: 'false', autofocus: true });
  const button = h('button', { type: 'submit', class: 'primary' }, 'Sign in');
  const submit = async (event) => {
    event.preventDefault();
    button.disabled = true;
    try {
      const session = await post('/v1/session', { token: token.value });
      token.value = '';
      done(session);
    } catch (error) {
      button.disabled = false;
      refused.replaceChildren(trouble(error));
      token.focus();
    }
  };
  return h('form', { method: 'post', class: 'sign-in', onsubmit: submit },
    h('h1', {}, 'Ringvault'),
    h('p', {}, 'Backup and restore for Apache Cassandra.'),
    // For managers of passwords, which file a token under a name.
    h('input', { type: 'text', name: 'username', autocomplete: 'username', value: 'ringvault', hidden: true, readonly: true }),
    h('p', { class: 'field' }, h('label', { for: 'token' }, h('span', {}, 'Access token')), token),
    refused, button, providers(),
    h('p', { class: 'note' }, 'Whoever runs Ringvault makes one: ', h('code', {}, 'ringvault token create NAME --role viewer')));
}

/** A way to the identity provider, where there is one. It is a link: nothing is sent but who wants to go where. */
function providers() {
  const place = h('div', { class: 'ways' });
  const to = location.pathname + location.search;
  get('/v1/sign-in').then(({ openid }) => {
    if (openid) place.append(h('a', { class: 'way', href: `/v1/sign-in/openid${query({ to })}` }, `Sign in with ${openid}`));
  }).catch(() => { /* a token is a way in all the same */ });
  return place;
}
