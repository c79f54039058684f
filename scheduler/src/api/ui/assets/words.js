// How times, sizes and counts are written: times in UTC, sizes in powers of 1024.

let skew = 0;

/** The server's clock is the one that counts: `at` is what it said just now. */
export function setClock(at) {
  if (at) skew = Date.parse(at) - Date.now();
}

export function now() {
  return Date.now() + skew;
}

const pad = (n) => String(n).padStart(2, '0');

/** `2026-11-22 02:00`, in UTC. */
export function instant(at, seconds = false) {
  const d = new Date(at);
  const day = dayOf(d);
  const time = `${pad(d.getUTCHours())}:${pad(d.getUTCMinutes())}`;
  return `${day} ${time}${seconds ? `:${pad(d.getUTCSeconds())}` : ''}`;
}

/** `2026-11-22`, in UTC. */
export function dayOf(d) {
  return `${d.getUTCFullYear()}-${pad(d.getUTCMonth() + 1)}-${pad(d.getUTCDate())}`;
}

/** `45s`, `14m`, `6h 04m`, `3d`. */
export function span(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return `${s}s`;
  if (s < 3600) return `${Math.floor(s / 60)}m`;
  if (s < 172800) return `${Math.floor(s / 3600)}h ${pad(Math.floor((s % 3600) / 60))}m`;
  return `${Math.floor(s / 86400)}d`;
}

/** Seconds since `at`, by the server's clock. */
export function secondsSince(at) {
  return (now() - Date.parse(at)) / 1000;
}

/** `6h 04m ago`, `in 3h 10m`. */
export function ago(at) {
  const s = secondsSince(at);
  if (s < -1) return `in ${span(-s)}`;
  return s < 5 ? 'just now' : `${span(s)} ago`;
}

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'];

/** `4.12 TiB`: three figures. */
export function size(bytes) {
  let value = bytes;
  let unit = 0;
  while (value >= 1023.5 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  const digits = unit === 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  return `${value.toFixed(digits)} ${UNITS[unit]}`;
}

/** `1,234`. */
export function number(n) {
  return String(n).replace(/\B(?=(\d{3})+$)/g, ',');
}

/** `3 nodes`, `1 node`. */
export function count(n, one, many = `${one}s`) {
  return `${number(n)} ${n === 1 ? one : many}`;
}

/** `not protected` from `not_protected`. */
export function plain(word) {
  return String(word).replaceAll('_', ' ');
}

/** A job's id as far as it takes to be known. */
export function short(id) {
  return id.slice(0, 13);
}

/** Bytes from `100MiB`; undefined if it is none. */
export function bytesOf(text) {
  const found = /^\s*(\d+(?:\.\d+)?)\s*(|[KMGT]i?B?|B)\s*$/i.exec(text);
  if (!found) return undefined;
  const power = ['', 'K', 'M', 'G', 'T'].indexOf(found[2].replace(/i?B$/i, '').replace(/i$/i, '').toUpperCase());
  return Math.round(Number(found[1]) * 1024 ** Math.max(power, 0));
}

/** `keep last 14, at most 35d old`. */
export function retention(r) {
  const parts = [];
  if (r.keep_last) parts.push(`the newest ${r.keep_last}`);
  for (const [field, word] of [['daily', 'day'], ['weekly', 'week'], ['monthly', 'month'], ['yearly', 'year']]) {
    if (r[field]) parts.push(`one a ${word} for ${count(r[field], word)}`);
  }
  if (r.max_age) parts.push(`nothing older than ${r.max_age}`);
  parts.push(`at least ${r.min_restorable ?? 1} restorable`);
  return parts.join(', ');
}
