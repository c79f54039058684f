-- The workflow's state. Postgres decides and RabbitMQ wakes: every durable fact of a job stands here.
-- All times are by this server's clock. State words are those of ringvault-core's enums.

-- Clusters, as workers announce them -------------------------------------------------------------

create table clusters (
    name        text primary key,
    created_at  timestamptz not null default now(),
    -- The ring this id is bound to: the host ids of its members as last seen. Empty: the next ring
    -- that claims the id gets it (a new cluster, or one whose owner said `cluster rebind`).
    ring_hosts  uuid[] not null default '{}',
    bound_at    timestamptz
);

-- Rings over time; the open row is the present.
create table topologies (
    id          bigint generated always as identity primary key,
    cluster     text not null references clusters,
    valid_from  timestamptz not null default now(),
    valid_to    timestamptz,
    topology    jsonb not null
);
create unique index topologies_present on topologies (cluster) where valid_to is null;
create index topologies_past on topologies (cluster, valid_from desc);

-- Members of a ring, with or without a worker.
create table nodes (
    cluster            text not null references clusters,
    host_id            uuid not null,
    address            text not null,
    dc                 text not null,
    rack               text not null,
    tokens             integer not null,
    cassandra_version  text,
    partitioner        text,
    schema_version     text,
    data_dirs          jsonb not null default '[]',
    first_seen         timestamptz not null default now(),
    last_seen          timestamptz not null default now(),
    -- When it was no longer a member; a node that comes back is the same row again.
    left_at            timestamptz,
    primary key (cluster, host_id)
);

create table workers (
    id            uuid primary key,
    cluster       text not null,
    host_id       uuid,
    incarnation   uuid not null,
    state         text not null check (state in ('live', 'gone', 'refused')),
    -- Why it is refused.
    reason        text,
    -- What keeps it from working, in its own words.
    problem       text,
    capabilities  text[] not null,
    slots         integer not null,
    short_slots   integer not null,
    disk_total    bigint not null,
    disk_free     bigint not null,
    version       text not null,
    first_seen    timestamptz not null default now(),
    last_seen     timestamptz not null default now()
);
create index workers_by_cluster on workers (cluster, state, last_seen);
create index workers_by_host on workers (host_id) where host_id is not null;

-- Policies ---------------------------------------------------------------------------------------

create table policies (
    name        text primary key,
    cluster     text not null,
    document    jsonb not null,
    paused      boolean not null default false,
    created_at  timestamptz not null default now(),
    updated_at  timestamptz not null default now(),
    -- Instants up to here are never fired: creation, change of schedule, resume.
    fires_after timestamptz not null default now()
);

-- Jobs and tasks ---------------------------------------------------------------------------------

create table jobs (
    id               uuid primary key,
    kind             text not null,
    cluster          text not null references clusters,
    spec             jsonb not null,
    state            text not null,
    state_since      timestamptz not null default now(),
    stages           text[] not null,
    -- Index into stages of the open (or last open) stage.
    stage            integer not null default 0,
    past_no_return   boolean not null default false,
    retry_until      timestamptz,
    source           text not null,
    idempotency_key  text not null,
    requested_by     text not null,
    policy           text,
    -- The backup it makes or works on.
    backup_cluster   text,
    backup           text,
    -- Attempts of each task, where the policy says so.
    max_attempts     integer,
    -- Uploads at once over the cluster.
    max_parallel     integer,
    created_at       timestamptz not null default now(),
    started_at       timestamptz,
    ended_at         timestamptz,
    -- ok, partial, problems or failed; null while it is under way and when it was cancelled.
    outcome          text,
    error            jsonb,
    -- Cancelled or abandoned: when its cleanup tasks were inserted, and when nobody waits any more.
    cleanup_opened   boolean not null default false,
    cleanup_until    timestamptz
);
create index jobs_under_way on jobs (state, created_at)
    where state not in ('succeeded', 'cancelled', 'abandoned');
create index jobs_by_cluster on jobs (cluster, created_at desc);
create index jobs_by_policy on jobs (policy, created_at desc) where policy is not null;
create index jobs_by_backup on jobs (backup_cluster, backup) where backup is not null;
create index jobs_newest on jobs (created_at desc, id desc);

create table tasks (
    id             uuid primary key,
    job            uuid not null references jobs,
    cluster        text not null,
    stage          integer not null,
    kind           text not null,
    -- Clears what a cancelled or abandoned job left; not part of any stage's barrier.
    cleanup        boolean not null default false,
    placement      text not null check (placement in ('node', 'any', 'any_with_delete')),
    host_id        uuid,
    payload        jsonb not null,
    state          text not null,
    epoch          integer not null default 0,
    dispatch_seq   integer not null default 0,
    attempts       integer not null default 0,
    run_at         timestamptz not null,
    deadline       timestamptz,
    waiting_since  timestamptz,
    worker         uuid,
    error          jsonb,
    result         jsonb,
    progress       jsonb,
    progress_at    timestamptz,
    -- When its silent worker was asked whether it is still on it.
    asked_at       timestamptz,
    created_at     timestamptz not null default now(),
    started_at     timestamptz,
    ended_at       timestamptz,
    check ((placement = 'node') = (host_id is not null))
);
create index tasks_by_job on tasks (job, stage);
create index tasks_due on tasks (run_at) where state = 'ready';
create index tasks_deadline on tasks (deadline) where state in ('dispatched', 'running');
create index tasks_by_worker on tasks (worker) where state in ('dispatched', 'running');

create table attempts (
    task           uuid not null references tasks,
    epoch          integer not null,
    worker         uuid not null,
    dispatched_at  timestamptz not null default now(),
    granted_at     timestamptz,
    ended_at       timestamptz,
    -- succeeded, failed, stopped, lost, unanswered, unreachable, taken_back
    outcome        text,
    error          jsonb,
    primary key (task, epoch)
);

-- Every event that the state machines took, in the order they took it: replays to the present.
create table transitions (
    id          bigint generated always as identity primary key,
    job         uuid not null references jobs,
    -- Null: an event of the job itself.
    task        uuid,
    -- Null on the first line, which holds the state it began with.
    event       jsonb,
    from_state  text,
    to_state    text not null,
    -- What else the transition was decided on: the first state, or rules and jitter.
    inputs      jsonb not null default '{}',
    at          timestamptz not null,
    actor       text not null
);
create index transitions_by_job on transitions (job, id);

-- Messages out and in ----------------------------------------------------------------------------

create table outbox (
    id             bigint generated always as identity primary key,
    exchange       text not null,
    routing_key    text not null,
    message_id     uuid not null,
    message_type   text not null,
    headers        jsonb not null,
    body           bytea not null,
    mandatory      boolean not null,
    persistent     boolean not null,
    -- The offer it is, so that an unroutable one is told to its task.
    task           uuid,
    epoch          integer,
    created_at     timestamptz not null default now(),
    -- A relay has it in hand until then.
    claimed_until  timestamptz,
    attempts       integer not null default 0,
    error          text,
    -- Over: confirmed, or returned by the broker as unroutable.
    sent_at        timestamptz,
    returned       boolean not null default false
);
create index outbox_pending on outbox (id) where sent_at is null;
create index outbox_done on outbox (sent_at) where sent_at is not null;

create table inbox (
    source           text not null,
    idempotency_key  text not null,
    -- SHA-256 of the request's type and body.
    body_hash        bytea not null,
    job              uuid,
    created_at       timestamptz not null default now(),
    primary key (source, idempotency_key)
);

-- Messages that could not be read, by queue and reason. The messages themselves are in the dead queue.
create table dead_messages (
    queue        text not null,
    code         text not null,
    count        bigint not null default 0,
    last_at      timestamptz not null default now(),
    last_reason  text not null,
    primary key (queue, code)
);

-- One fire per policy and instant, whoever gets here first.
create table fires (
    policy      text not null,
    fire_time   timestamptz not null,
    job         uuid references jobs,
    -- Why no job was made of it.
    skipped     text,
    scheduler   text not null,
    created_at  timestamptz not null default now(),
    primary key (policy, fire_time)
);

-- Backups: a cache of the vault's truth ----------------------------------------------------------

create table backups (
    cluster         text not null,
    name            text not null,
    job             uuid not null,
    policy          text,
    state           text not null,
    mode            text not null,
    tags            jsonb not null default '{}',
    started_at      timestamptz not null,
    sealed_at       timestamptz,
    -- BackupFigures and CoverageReport of the seal.
    figures         jsonb,
    coverage        jsonb,
    remarks         jsonb not null default '[]',
    verified_level  text,
    verified_at     timestamptz,
    damaged         bigint not null default 0,
    tainted         boolean not null default false,
    -- Expired (or dead) by this purge; gone from the vault once it has reported.
    expired_at      timestamptz,
    expired_by      uuid,
    expire_reason   text,
    purged_at       timestamptz,
    primary key (cluster, name)
);
create index backups_newest on backups (cluster, started_at desc);
create index backups_by_job on backups (job);

create table holds (
    id           uuid primary key,
    cluster      text not null,
    backup       text not null,
    -- Held by a job until it is over for good, or by hand under a name.
    job          uuid references jobs,
    name         text,
    reason       text,
    created_by   text not null,
    created_at   timestamptz not null default now(),
    released_at  timestamptz,
    check ((job is null) <> (name is null)),
    foreign key (cluster, backup) references backups
);
create index holds_by_backup on holds (cluster, backup) where released_at is null;
create index holds_by_job on holds (job) where job is not null and released_at is null;
create unique index holds_by_name on holds (cluster, backup, name) where released_at is null and name is not null;

-- The service itself -----------------------------------------------------------------------------

create table tokens (
    id          uuid primary key,
    name        text not null,
    -- SHA-256 of the token; the token itself is shown once and kept nowhere.
    hash        bytea not null unique,
    role        text not null check (role in ('viewer', 'operator', 'admin')),
    created_by  text not null,
    created_at  timestamptz not null default now(),
    last_used   timestamptz,
    revoked_at  timestamptz
);
create unique index tokens_by_name on tokens (name) where revoked_at is null;

create table schedulers (
    id           text primary key,
    incarnation  uuid not null,
    version      text not null,
    started_at   timestamptz not null default now(),
    last_seen    timestamptz not null default now()
);

-- The scheduler that does the housekeeping. Saves work; nothing is wrong with two of them.
create table leader (
    singleton  boolean primary key default true check (singleton),
    scheduler  text not null,
    until      timestamptz not null
);
