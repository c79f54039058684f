-- What the dashboard needs: who is signed in, who let a hold go, and ways in for what it shows.

-- Browsers that are signed in. A cookie stands for a token, until it ends or the token does.
create table sessions (
    -- SHA-256 of the cookie; the cookie itself is kept nowhere.
    hash        bytea primary key,
    -- Null: the administrator's token of the configuration.
    token       uuid references tokens,
    -- Of that token: SHA-256 of the cookie and the token's hash, so that another token ends the session,
    -- and nothing that could be tried against guesses of it is kept.
    bound       bytea,
    created_at  timestamptz not null default now(),
    expires_at  timestamptz not null,
    check ((token is null) <> (bound is null))
);
create index sessions_by_end on sessions (expires_at);

-- Who let a hold by hand go, and why.
alter table holds add column released_by text;
alter table holds add column release_reason text;

-- Evidence, the newest first: verifies, restores and purges that came to an end, holds, and what
-- somebody told a job to do.
create index verifications_by_time on verifications (at desc);
create index jobs_of_evidence on jobs (ended_at desc)
    where kind in ('restore', 'purge') and ended_at is not null;
create index holds_by_hand on holds (created_at desc) where name is not null;
create index holds_let_go on holds (released_at desc) where name is not null and released_at is not null;
create index transitions_by_hand on transitions (at desc)
    where task is null and from_state is not null and (actor like 'token %' or actor like 'amqp %');

-- The fleet's status, cluster by cluster: what was verified and found whole, what is damaged, what is open.
create index backups_found_whole on backups (cluster, verified_at desc)
    where damaged = 0 and verified_at is not null;
create index backups_damaged on backups (cluster, started_at desc) where damaged > 0;
create index jobs_open_by_cluster on jobs (cluster, created_at desc)
    where state not in ('succeeded', 'cancelled', 'abandoned');
