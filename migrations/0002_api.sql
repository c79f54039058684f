-- What the HTTP API needs beyond the workflow's own state.

-- Until when a token is good; for ever where absent.
alter table tokens add column expires_at timestamptz;

-- Newest first over all clusters, as the list of backups pages.
create index backups_by_time on backups (started_at desc, cluster, name);
