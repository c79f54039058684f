// Addresses and the screens they lead to.

import * as fleet from './fleet.js';
import * as cluster from './cluster.js';
import * as backup from './backup.js';
import * as jobs from './jobs.js';
import * as job from './job.js';
import * as restore from './restore.js';
import * as storage from './storage.js';
import * as evidence from './evidence.js';

const ROUTES = [
  [/^\/ui\/fleet$/, fleet, []],
  [/^\/ui\/clusters$/, cluster, []],
  [/^\/ui\/clusters\/([^/]+)$/, cluster, ['cluster']],
  [/^\/ui\/clusters\/([^/]+)\/backups\/([^/]+)$/, backup, ['cluster', 'backup']],
  [/^\/ui\/jobs$/, jobs, []],
  [/^\/ui\/jobs\/([^/]+)$/, job, ['job']],
  [/^\/ui\/restore$/, restore, []],
  [/^\/ui\/restore\/([^/]+)$/, job, ['job']],
  [/^\/ui\/storage$/, storage, []],
  [/^\/ui\/evidence$/, evidence, []],
];

export const NAVIGATION = [
  ['/ui/fleet', 'Fleet'], ['/ui/clusters', 'Cluster'], ['/ui/jobs', 'Jobs'],
  ['/ui/restore', 'Restore'], ['/ui/storage', 'Storage'], ['/ui/evidence', 'Evidence'],
];

/** The screen of an address with what the address says; undefined where there is none. */
export function find(location) {
  for (const [pattern, screen, names] of ROUTES) {
    const found = pattern.exec(location.pathname);
    if (!found) continue;
    const params = Object.fromEntries(new URLSearchParams(location.search));
    try {
      names.forEach((name, index) => { params[name] = decodeURIComponent(found[index + 1]); });
    } catch {
      return undefined;
    }
    return { screen, params };
  }
  return undefined;
}
