-- Who did what: written with what was done, and soon after put into a chain by its hashes.

create table audit (
    -- Order of writing.
    id       uuid primary key,
    at       timestamptz not null default now(),
    actor    text not null,
    action   text not null,
    cluster  text,
    target   text not null,
    details  jsonb not null,
    -- Its place in the chain, from 1, and the hash with it; absent until it has one.
    seq      bigint unique,
    hash     bytea
);
create index audit_not_chained on audit (id) where seq is null;
create index audit_by_cluster on audit (cluster, seq) where cluster is not null;
create index audit_by_actor on audit (actor, seq);
create index audit_by_action on audit (action, seq);

-- The chain's end, in one row: whoever adds to the chain holds its lock.
create table audit_head (
    singleton boolean primary key default true check (singleton),
    -- Tells this chain from that of a database that was lost.
    chain     uuid not null default gen_random_uuid(),
    seq       bigint not null default 0,
    hash      bytea not null default decode(repeat('00', 32), 'hex'),
    -- How far the vault has been told.
    anchored  bigint not null default 0,
    anchored_at timestamptz
);
insert into audit_head default values;
