-- What people are told of by webhook, chat or mail: an outbox of its own, since a receiver may be away
-- for days and be no concern of the workflow's.

create table notices (
    -- The delivery id, the same at every try.
    id         uuid primary key,
    -- Of `[notify.NAME]`.
    notifier   text not null,
    event      text not null,
    title      text not null,
    -- The notice as a webhook posts it.
    body       jsonb not null,
    state      text not null default 'pending' check (state in ('pending', 'sent', 'given_up')),
    created_at timestamptz not null default now(),
    -- When it is to be tried, or until when somebody is at it.
    due_at     timestamptz not null default now(),
    attempts   integer not null default 0,
    error      text,
    ended_at   timestamptz
);
create index notices_due on notices (notifier, due_at) where state = 'pending';
create index notices_ended on notices (ended_at) where ended_at is not null;
create index notices_by_notifier on notices (notifier, ended_at desc) where ended_at is not null;

-- Conditions that were told of and still hold, such as a recovery point that is late: told once.
create table conditions (
    cluster    text not null,
    condition  text not null,
    since      timestamptz not null default now(),
    primary key (cluster, condition)
);
