-- What the workflow decides on besides the states: since when an attempt runs, what a backup is of,
-- which nodes are gone for good, and which ring each worker sees.

-- Since when the present attempt of a task runs.
alter table tasks add column running_since timestamptz;

-- What a backup is of: a narrower one never counts for a wider one.
alter table backups add column selection jsonb not null default '{}';
alter table backups add column dc text;
update backups b
set selection = coalesce(j.spec -> 'selection', '{}'), dc = j.spec ->> 'dc'
from jobs j where j.id = b.job;

-- When its owner said that the node is gone for good; a node that announces itself is back.
alter table nodes add column forgotten_at timestamptz;

-- SHA-256 of the ring as the worker's node sees it, by which workers vote on what the ring is.
alter table workers add column sees bytea;
