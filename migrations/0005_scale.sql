-- Ways in that a long history needs: what is asked again and again never reads a whole table.

-- A job's own events among those of its many tasks: who paused it last.
create index transitions_of_jobs on transitions (job, id) where task is null;
-- What can be restored, which is little beside all that ever was.
create index backups_restorable on backups (cluster, started_at desc)
    where state in ('complete', 'covering') and not tainted;
-- Jobs by state, as metrics count them: narrow, beside rows with whole specifications.
create index jobs_by_state on jobs (cluster, state, kind);
-- Lists are asked for by name or policy alone, too.
create index jobs_by_backup_name on jobs (backup) where backup is not null;
create index backups_by_name on backups (name);
create index backups_by_policy on backups (policy, started_at desc) where policy is not null;
