// The scheduler's API, as everybody else uses it. The session is a cookie that no script can read.

import { setClock } from './words.js';

/** A refusal, or that nobody answered. */
export class Refusal extends Error {
  constructor(problem) {
    super(problem.detail);
    this.status = problem.status;
    this.code = problem.code;
    this.next = problem.next;
    this.field = problem.field;
  }
}

async function ask(method, path, { body, key, signal } = {}) {
  const headers = { accept: 'application/json', 'x-ringvault-page': '1' };
  if (body !== undefined) headers['content-type'] = 'application/json';
  if (key) headers['idempotency-key'] = key;
  let response;
  try {
    response = await fetch(path, {
      method, headers, signal, cache: 'no-store', credentials: 'same-origin', redirect: 'error',
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Refusal({
      status: 0, code: 'RV-UNREACHABLE', detail: 'the scheduler does not answer', next: 'ringvault doctor',
    });
  }
  if (response.status === 204) return undefined;
  let answer;
  try {
    answer = await response.json();
  } catch {
    answer = { status: response.status, code: 'RV-ANSWER', detail: `the answer (${response.status}) cannot be read` };
  }
  if (!response.ok) throw new Refusal(answer);
  setClock(answer.as_of);
  return answer;
}

export const get = (path, signal) => ask('GET', path, { signal });
export const post = (path, body, key) => ask('POST', path, { body, key });
export const remove = (path, body, key) => ask('DELETE', path, { body, key });

/** A path with its names written as they must be, and a query of what is not absent. */
export function path(parts, ...names) {
  return parts.map((part, index) => part + (index < names.length ? encodeURIComponent(names[index]) : '')).join('');
}

export function query(fields) {
  const given = Object.entries(fields).filter(([, value]) => value !== undefined && value !== null && value !== '');
  return given.length ? `?${new URLSearchParams(given)}` : '';
}

/** A key for a request that must not happen twice, however often a button is pressed. */
export function newKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** A job's progress as it comes: `news` is called with each. Returns what ends it. */
export function watch(job, { news, ended, lost }) {
  const source = new EventSource(path`/v1/jobs/${job}/events`);
  const read = (event) => {
    const progress = JSON.parse(event.data);
    setClock(progress.as_of);
    return progress;
  };
  source.addEventListener('progress', (event) => news(read(event)));
  source.addEventListener('end', (event) => {
    source.close();
    ended(read(event));
  });
  source.addEventListener('error', () => lost());
  return () => source.close();
}
