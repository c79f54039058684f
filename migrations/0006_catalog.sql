-- What `catalog rebuild` fills from the vault beside the backups themselves.

-- Every verify of a backup that has reported, as its record in the vault says; outlives its job.
create table verifications (
    cluster  text not null,
    backup   text not null,
    job      uuid not null,
    level    text not null,
    at       timestamptz not null,
    damaged  bigint not null,
    primary key (cluster, backup, job)
);
insert into verifications
select j.backup_cluster, j.backup, j.id, coalesce(j.spec ->> 'level', 'presence'), j.ended_at,
    (select coalesce(sum((t.result ->> 'damaged')::bigint), 0)::bigint from tasks t
     where t.job = j.id and t.kind = 'check')
from jobs j
where j.kind = 'verify' and j.state = 'succeeded' and j.ended_at is not null and j.backup is not null;

-- Whether the vault has a record of the hold, too; holds of jobs have none.
alter table holds add column recorded boolean not null default false;
create index holds_not_recorded on holds (created_at)
    where not recorded and released_at is null and name is not null;
